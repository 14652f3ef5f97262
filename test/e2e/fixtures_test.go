// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/base64"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/hack/localcluster"
)

// The instance of config/samples, which most specs share.
const (
	sharedNamespace = "packages-e2e"
	sharedInstance  = "acme"
)

// place is an instance that specs declare repositories and tokens for.
type place struct {
	namespace, instance string
	// hostname is the instance's, without the part that isolation adds.
	hostname string
}

func shared() place { return place{sharedNamespace, sharedInstance, env.domain} }

func (p place) dockerHost() string { return dockerHost(p.hostname) }

func (p place) instanceObject() *v1alpha1.PackagesInstance {
	return &v1alpha1.PackagesInstance{ObjectMeta: metav1.ObjectMeta{Namespace: p.namespace, Name: p.instance}}
}

// key names an object in the place's namespace.
func (p place) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: p.namespace, Name: name}
}

// image is the reference of an image in the place.
func (p place) image(name string) string { return p.dockerHost() + "/" + name }

// newPlace makes a namespace with an instance in it, below the run's domain.
func newPlace(ctx context.Context, name string, deletionPolicy v1alpha1.DeletionPolicy) place {
	GinkgoHelper()
	p := place{namespace: sharedNamespace + "-" + name, instance: name, hostname: name + "." + env.domain}
	createNamespace(ctx, p.namespace, tlsSecret, p.hostname)
	p.createInstance(ctx, deletionPolicy)
	return p
}

func (p place) createInstance(ctx context.Context, deletionPolicy v1alpha1.DeletionPolicy) {
	GinkgoHelper()
	instance := p.instanceObject()
	instance.Spec = v1alpha1.PackagesInstanceSpec{
		Hostname: p.hostname,
		Storage:  v1alpha1.StorageSpec{Filesystem: &v1alpha1.FilesystemStorage{Size: resource.MustParse("1Gi")}},
		Exposure: v1alpha1.ExposureSpec{Ingress: &v1alpha1.IngressExposure{
			ClassName: localcluster.IngressClass,
			TLS:       &v1alpha1.IngressTLS{SecretName: tlsSecret},
		}},
		DeletionPolicy: deletionPolicy,
	}
	Expect(env.kube.Create(ctx, instance)).To(Succeed())
	eventuallyReady(ctx, instance)
	eventuallyReachable(ctx, p.dockerHost())
}

// declareRepository declares OWNER/NAME; roles are pairs of user and role.
func (p place) declareRepository(ctx context.Context, owner, name string, visibility v1alpha1.Visibility, roles ...v1alpha1.UserAccess) *v1alpha1.PackagesRepository {
	GinkgoHelper()
	repository := &v1alpha1.PackagesRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.namespace, Name: owner + "-" + name},
		Spec: v1alpha1.PackagesRepositorySpec{
			InstanceRef: v1alpha1.InstanceReference{Name: p.instance},
			Owner:       owner,
			Name:        name,
			Visibility:  visibility,
			Access:      v1alpha1.RepositoryAccess{Users: roles},
		},
	}
	Expect(env.kube.Create(ctx, repository)).To(Succeed())
	eventuallyReady(ctx, repository)
	return repository
}

// may is an entry of a repository's access list.
func may(user string, role v1alpha1.RepositoryRole) v1alpha1.UserAccess {
	return v1alpha1.UserAccess{Name: user, Role: role}
}

// credential is what docker login takes.
type credential struct{ user, password string }

// basic is the credential as a value of the header Authorization.
func (c credential) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.user+":"+c.password))
}

// Sets of scopes.
var (
	toRead  = []v1alpha1.Scope{v1alpha1.ScopeReadPackages}
	toWrite = []v1alpha1.Scope{v1alpha1.ScopeReadPackages, v1alpha1.ScopeWritePackages}
)

// issueToken declares a token and returns it with its value, once it works. edit
// may be nil.
func (p place) issueToken(ctx context.Context, user string, scopes []v1alpha1.Scope, edit func(*v1alpha1.PackagesTokenSpec)) (*v1alpha1.PackagesToken, credential) {
	GinkgoHelper()
	tokens++
	name := fmt.Sprintf("%s-%d", user, tokens)
	token := &v1alpha1.PackagesToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.namespace, Name: name},
		Spec: v1alpha1.PackagesTokenSpec{
			InstanceRef: v1alpha1.InstanceReference{Name: p.instance},
			User:        user,
			Scopes:      scopes,
			Secret:      &v1alpha1.TokenSecret{Name: name},
		},
	}
	if edit != nil {
		edit(&token.Spec)
	}
	Expect(env.kube.Create(ctx, token)).To(Succeed())
	eventuallyReady(ctx, token)
	return token, p.readCredential(ctx, name)
}

// tokens counts the tokens declared, so that each has a name of its own.
var tokens int

// login is a person with a token of their own.
func (p place) login(ctx context.Context, user string, scopes []v1alpha1.Scope) *person {
	GinkgoHelper()
	_, c := p.issueToken(ctx, user, scopes, nil)
	return loggedIn(ctx, p.dockerHost(), c)
}

// readCredential reads the Secret of a token.
func (p place) readCredential(ctx context.Context, secret string) credential {
	GinkgoHelper()
	data := p.secretData(ctx, secret)
	c := credential{string(data["username"]), string(data["password"])}
	Expect(c.user).NotTo(BeEmpty())
	Expect(c.password).To(HavePrefix("pkgt_"))
	return c
}

func (p place) secretData(ctx context.Context, secret string) map[string][]byte {
	GinkgoHelper()
	object := &corev1.Secret{}
	Expect(env.kube.Get(ctx, p.key(secret), object)).To(Succeed())
	return object.Data
}
