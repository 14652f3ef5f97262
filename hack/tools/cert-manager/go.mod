// cert-manager's CustomResourceDefinitions, for tests. The operator needs none of its
// code, and its module would bring sixty others along.
module github.com/packages-operator/packages-operator/hack/tools/cert-manager

go 1.26.0

require github.com/cert-manager/cert-manager v1.21.2
