// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SubdomainIsolation says whether each kind of package has a host of its own.
// +kubebuilder:validation:Enum=Enabled;Disabled
type SubdomainIsolation string

const (
	// SubdomainIsolationEnabled serves the Docker registry at docker.HOSTNAME.
	SubdomainIsolationEnabled SubdomainIsolation = "Enabled"
	// SubdomainIsolationDisabled serves the Docker registry at HOSTNAME itself.
	SubdomainIsolationDisabled SubdomainIsolation = "Disabled"
)

// SupportMode says how far an instance serves one kind of package.
// +kubebuilder:validation:Enum=Enabled;ReadOnly;Disabled
type SupportMode string

const (
	// SupportEnabled serves downloads, uploads and deletions.
	SupportEnabled SupportMode = "Enabled"
	// SupportReadOnly serves downloads and refuses uploads and deletions.
	SupportReadOnly SupportMode = "ReadOnly"
	// SupportDisabled serves nothing; what was stored is kept.
	SupportDisabled SupportMode = "Disabled"
)

// AnonymousPull says what may be pulled without a token.
// +kubebuilder:validation:Enum=Deny;PublicRepositories
type AnonymousPull string

const (
	// AnonymousPullDeny lets nobody pull without a token.
	AnonymousPullDeny AnonymousPull = "Deny"
	// AnonymousPullPublicRepositories lets anybody pull from repositories whose
	// visibility is Public.
	AnonymousPullPublicRepositories AnonymousPull = "PublicRepositories"
)

// Acceptance says whether something that is not usual is taken.
// +kubebuilder:validation:Enum=Reject;Allow
type Acceptance string

const (
	// AcceptanceReject refuses it with a reason.
	AcceptanceReject Acceptance = "Reject"
	// AcceptanceAllow takes it.
	AcceptanceAllow Acceptance = "Allow"
)

// PackagesInstanceSpec is the registry that a user wants.
type PackagesInstanceSpec struct {
	// hostname is the DNS name of the instance, such as packages.example.com: in
	// lower case, of at least two labels, with no scheme, port or path. With
	// subdomainIsolation Enabled the Docker registry is at docker.HOSTNAME, so it
	// is at most 246 characters long. Changing it moves the registry and keeps the
	// data.
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=246
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+$') && !self.matches('[.][0-9]+$')",message="write a DNS name such as packages.example.com",messageExpression="self.contains('://') ? 'leave out the scheme: write the name alone, such as packages.example.com' : self.contains('/') ? 'leave out the path: write the name alone, such as packages.example.com' : self.contains(':') || self.matches('^[0-9.]+$') ? 'write a DNS name without a port, such as packages.example.com: an IP address has no subdomains' : self.endsWith('.') ? 'leave out the dot at the end' : self != self.lowerAscii() ? 'write it in lower case: ' + self.lowerAscii() : !self.contains('.') ? 'write a DNS name of at least two labels, such as packages.example.com' : 'write a DNS name such as packages.example.com: lower-case letters, digits and - in labels of at most 63 characters, the last one not a number'"
	Hostname string `json:"hostname"`

	// subdomainIsolation says whether the Docker registry has a host of its own:
	// Enabled serves it at docker.HOSTNAME, Disabled at HOSTNAME itself. Switching
	// it moves the registry and keeps the data. Default: Enabled.
	// +optional
	// +kubebuilder:default=Enabled
	SubdomainIsolation SubdomainIsolation `json:"subdomainIsolation,omitempty"`

	// docker configures the Docker registry of the instance.
	// +optional
	// +kubebuilder:default={}
	Docker DockerSpec `json:"docker,omitzero"`

	// storage says where packages are kept. Set exactly one kind of storage; the
	// kind cannot change later.
	// +required
	Storage StorageSpec `json:"storage,omitzero"`

	// exposure says how clients outside the cluster reach the instance. Without it
	// there is a Service only.
	// +optional
	Exposure ExposureSpec `json:"exposure,omitzero"`

	// allowedNamespaces are the other namespaces whose organizations, repositories
	// and tokens may name this instance, each for the owners that it is allowed, and
	// for no other. A namespace in several entries is allowed the owners of all of
	// them. Taking it off ends within a second what its objects gave; images are
	// kept. Default: the instance's own namespace only, which may speak for every
	// owner, whatever is written here.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	AllowedNamespaces []AllowedNamespaces `json:"allowedNamespaces,omitempty"`

	// deletionPolicy says what becomes of the stored packages when the instance is
	// deleted: Retain keeps the volume, and an instance of the same name in the
	// same namespace takes it up again; Delete deletes it. Default: Retain.
	// +optional
	// +kubebuilder:default=Retain
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// podTemplate fits the pods to the cluster: where they run and what they may use.
	// A change restarts them.
	// +optional
	PodTemplate PodTemplate `json:"podTemplate,omitzero"`

	// suspend true stops the registry: nothing is served, for as long as a volume is
	// restored or moved, say. Packages, repositories and tokens are kept, and false
	// serves them again. Default: false.
	// +optional
	// +kubebuilder:default=false
	Suspend bool `json:"suspend,omitempty"`
}

// AllowedNamespaces are namespaces, named or selected by their labels, and the
// owners that they may speak for.
// +kubebuilder:validation:XValidation:rule="has(self.names) != has(self.selector)",message="write one of names and selector",messageExpression="has(self.names) ? 'write names or selector, not both: two entries allow the namespaces of both' : 'write names, such as names: [team-a], or selector, to choose namespaces by their labels'"
type AllowedNamespaces struct {
	// names are namespaces by their names. Write either names or selector.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="write the name of a namespace: lower-case letters, digits and '-', such as team-a"
	Names []string `json:"names,omitempty"`

	// selector chooses namespaces by their labels; an empty one chooses all. Whoever
	// may label namespaces decides then who is allowed. Write either names or
	// selector.
	// +optional
	Selector *NamespaceSelector `json:"selector,omitempty"`

	// owners are the users and organizations whose repositories these namespaces may
	// declare and use. Their organizations, repositories and tokens have effect for
	// these owners alone.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=39
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*$') && !(self in ['v2', 'token', 'api', 'healthz', 'readyz', 'metrics', 'login', 'logout', 'settings', 'assets', '-'])",message="write lower-case letters and digits, joined by '.', '_', '__' or '-', such as octo-org",messageExpression="self in ['v2', 'token', 'api', 'healthz', 'readyz', 'metrics', 'login', 'logout', 'settings', 'assets', '-'] ? 'the name ' + self + ' is reserved: write another' : self != self.lowerAscii() ? 'write it in lower case: ' + self.lowerAscii() : 'write lower-case letters and digits, joined by \".\", \"_\", \"__\" or \"-\", such as octo-org'"
	Owners []string `json:"owners"`
}

// NamespaceSelector chooses namespaces by their labels, as a LabelSelector of
// Kubernetes does: all that it says must hold.
type NamespaceSelector struct {
	// matchLabels are labels that a namespace must have, with these values.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="write label names as [PREFIX/]NAME, NAME of at most 63 letters, digits, '-', '_' and '.', such as example.com/team"
	MatchLabels map[string]LabelValue `json:"matchLabels,omitempty"`

	// matchExpressions are conditions on labels.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	MatchExpressions []NamespaceRequirement `json:"matchExpressions,omitempty"`
}

// NamespaceRequirement is a condition on one label of a namespace.
// +kubebuilder:validation:XValidation:rule="(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",fieldPath=".values",message="write values with the operators In and NotIn, and with no other"
type NamespaceRequirement struct {
	// key is the name of the label.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')",message="write label names as [PREFIX/]NAME, NAME of at most 63 letters, digits, '-', '_' and '.', such as example.com/team"
	Key string `json:"key"`

	// operator says how the label and values belong together: In, the label has one
	// of them; NotIn, it has none of them, or is not there; Exists and DoesNotExist,
	// whether it is there.
	// +required
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
	Operator metav1.LabelSelectorOperator `json:"operator"`

	// values are those that In and NotIn speak of.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=50
	Values []LabelValue `json:"values,omitempty"`
}

// DockerSpec configures the Docker registry of an instance. Its fields take
// effect while the registry runs, within a second.
type DockerSpec struct {
	// support is Enabled, ReadOnly (downloads work, uploads and deletions are
	// refused) or Disabled (nothing is served and the packages are kept). Default:
	// Enabled.
	// +optional
	// +kubebuilder:default=Enabled
	Support SupportMode `json:"support,omitempty"`

	// anonymousPull says what may be pulled without a token: Deny, nothing;
	// PublicRepositories, the repositories whose visibility is Public. Default:
	// Deny.
	// +optional
	// +kubebuilder:default=Deny
	AnonymousPull AnonymousPull `json:"anonymousPull,omitempty"`

	// foreignLayers says what becomes of an image with foreign (non-distributable)
	// layers, whose bytes are kept elsewhere: Reject refuses its manifest; Allow
	// stores it, whether or not those layers were pushed. Default: Reject.
	// +optional
	// +kubebuilder:default=Reject
	ForeignLayers Acceptance `json:"foreignLayers,omitempty"`

	// missingReferences says what becomes of a manifest that refers to blobs or
	// manifests which were not pushed to its name: Reject refuses it; Allow stores
	// it, such as an index of which only some platforms are mirrored. What is
	// pushed later belongs to it then. Default: Reject.
	// +optional
	// +kubebuilder:default=Reject
	MissingReferences Acceptance `json:"missingReferences,omitempty"`

	// limits bound what may be pushed.
	// +optional
	// +kubebuilder:default={}
	Limits DockerLimits `json:"limits,omitzero"`
}

// DockerLimits bound what may be pushed to a Docker registry.
type DockerLimits struct {
	// maxLayerSize is the largest layer, or other blob, that is accepted, as it is
	// sent; a larger one is refused while it arrives. From 1Mi to 1Ti. Default: 5Gi.
	// +optional
	// +kubebuilder:default="5Gi"
	// +kubebuilder:validation:XValidation:rule="!string(self).matches('[eE][-+]?[0-9.]{3}') && isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('1Mi')) >= 0 && quantity(string(self)).compareTo(quantity('1Ti')) <= 0",message="write a size from 1Mi to 1Ti, such as 5Gi"
	MaxLayerSize *resource.Quantity `json:"maxLayerSize,omitempty"`

	// warnImageSize is how much the configuration and the layers of an image may
	// take together without a warning; a larger image is stored, and whoever pushes
	// it gets a Warning header. From 1Mi to 1Pi. Default: 10Gi.
	// +optional
	// +kubebuilder:default="10Gi"
	// +kubebuilder:validation:XValidation:rule="!string(self).matches('[eE][-+]?[0-9.]{3}') && isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('1Mi')) >= 0 && quantity(string(self)).compareTo(quantity('1Pi')) <= 0",message="write a size from 1Mi to 1Pi, such as 10Gi"
	WarnImageSize *resource.Quantity `json:"warnImageSize,omitempty"`
}

// StorageSpec says where packages are kept. Exactly one field is set.
// +kubebuilder:validation:XValidation:rule="has(self.filesystem)",message="set storage.filesystem, such as filesystem: {size: 20Gi}"
type StorageSpec struct {
	// filesystem keeps packages and their metadata on one persistent volume, and
	// runs one pod.
	// +optional
	Filesystem *FilesystemStorage `json:"filesystem,omitempty"`
}

// FilesystemStorage is one persistent volume.
// +kubebuilder:validation:XValidation:rule="has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",fieldPath=".storageClassName",message="storageClassName cannot change",messageExpression="has(oldSelf.storageClassName) ? 'storageClassName cannot change: keep \"' + oldSelf.storageClassName + '\"' : 'storageClassName cannot change: leave it out, as it was'"
type FilesystemStorage struct {
	// size is what to ask of the volume, such as 20Gi; at least 64Mi. It may grow
	// later, if the storage class can expand volumes, and never shrinks.
	// +required
	// +kubebuilder:validation:XValidation:rule="!string(self).matches('[eE][-+]?[0-9.]{3}') && isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('64Mi')) >= 0",message="write a size of at least 64Mi, such as 20Gi"
	// +kubebuilder:validation:XValidation:rule="string(self).matches('[eE][-+]?[0-9.]{3}') || !isQuantity(string(self)) || quantity(string(self)).compareTo(quantity(string(oldSelf))) >= 0",message="a volume cannot shrink: keep the size or write a larger one",messageExpression="'a volume cannot shrink: write ' + string(oldSelf) + ' or more'"
	Size resource.Quantity `json:"size"`

	// storageClassName is the StorageClass of the volume. Without it the cluster's
	// default class is used; the empty string asks for a volume that has no class.
	// It cannot change later.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$')",message="write the name of a StorageClass, as kubectl get storageclass shows it"
	StorageClassName *string `json:"storageClassName,omitempty"`
}

// ExposureSpec says how clients outside the cluster reach an instance. At most
// one field is set.
// +kubebuilder:validation:XValidation:rule="!(has(self.ingress) && has(self.gateway))",message="write ingress or gateway, not both"
type ExposureSpec struct {
	// ingress exposes the instance through an Ingress that the operator makes,
	// with a rule for every host of the instance.
	// +optional
	Ingress *IngressExposure `json:"ingress,omitempty"`

	// gateway exposes the instance through Gateways of the Gateway API, with an
	// HTTPRoute that the operator makes for every host of the instance. Certificates
	// belong to the Gateways' listeners.
	// +optional
	Gateway *GatewayExposure `json:"gateway,omitempty"`
}

// GatewayExposure shapes the HTTPRoutes of an instance.
type GatewayExposure struct {
	// parentRefs are the Gateways, or listeners of them, that lead to the instance. Two
	// of one Gateway name different listeners.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, a.name == b.name && (has(a.__namespace__) ? a.__namespace__ : '') == (has(b.__namespace__) ? b.__namespace__ : '') && (has(a.sectionName) ? a.sectionName : '') == (has(b.sectionName) ? b.sectionName : '')))",message="write every listener of a Gateway once: two references to one Gateway need different values of sectionName"
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.all(b, a.name != b.name || (has(a.__namespace__) ? a.__namespace__ : '') != (has(b.__namespace__) ? b.__namespace__ : '') || has(a.sectionName) == has(b.sectionName)))",message="write sectionName in each of two references to one Gateway: one without it stands for all listeners"
	ParentRefs []GatewayReference `json:"parentRefs"`

	// annotations are put on the HTTPRoutes. Names under packages-operator.io/ are the
	// operator's own.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && k.matches('^([a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="write annotation names as [PREFIX/]NAME, NAME of at most 63 letters, digits, '-', '_' and '.', such as external-dns.alpha.kubernetes.io/ttl"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('packages-operator.io/'))",message="choose other names: annotations under packages-operator.io/ are the operator's own"
	Annotations map[string]string `json:"annotations,omitempty"`

	// labels are put on the HTTPRoutes, beside the operator's own, which win. Names
	// under packages-operator.io/ are the operator's own.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="write label names as [PREFIX/]NAME, NAME of at most 63 letters, digits, '-', '_' and '.', such as example.com/team"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('packages-operator.io/'))",message="choose other names: labels under packages-operator.io/ are the operator's own"
	Labels map[string]LabelValue `json:"labels,omitempty"`
}

// GatewayReference names a Gateway or one of its listeners, as a ParentReference of
// the Gateway API does.
type GatewayReference struct {
	// name is the Gateway's metadata.name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="write the metadata.name of a Gateway, as kubectl get gateway shows it"
	Name string `json:"name"`

	// namespace is the Gateway's; the Gateway has to allow routes from the instance's.
	// Without it they are the same.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="write the name of a namespace: lower-case letters, digits and '-'"
	Namespace string `json:"namespace,omitempty"`

	// sectionName is the name of one of the Gateway's listeners, such as https. Without
	// it all listeners count that are for the host.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="write the name of a listener, as it is in the Gateway's spec.listeners"
	SectionName string `json:"sectionName,omitempty"`

	// port narrows this to listeners of that port.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`
}

// IngressExposure shapes the Ingress of an instance.
type IngressExposure struct {
	// className is the IngressClass that serves the Ingress. Without it the
	// cluster's default class does.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="write the name of an IngressClass, as kubectl get ingressclass shows it"
	ClassName string `json:"className,omitempty"`

	// annotations are put on the Ingress: settings of the ingress controller, such
	// as how large an upload may be. Names under packages-operator.io/ are the
	// operator's own.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && k.matches('^([a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="write annotation names as [PREFIX/]NAME, NAME of at most 63 letters, digits, '-', '_' and '.', such as nginx.ingress.kubernetes.io/proxy-body-size"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('packages-operator.io/'))",message="choose other names: annotations under packages-operator.io/ are the operator's own"
	Annotations map[string]string `json:"annotations,omitempty"`

	// labels are put on the Ingress, beside the operator's own, which win. Names
	// under packages-operator.io/ are the operator's own.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="write label names as [PREFIX/]NAME, NAME of at most 63 letters, digits, '-', '_' and '.', such as example.com/team"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('packages-operator.io/'))",message="choose other names: labels under packages-operator.io/ are the operator's own"
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// tls serves every host of the instance over HTTPS. Without it the ingress
	// controller decides which certificate it shows, if any.
	// +optional
	TLS *IngressTLS `json:"tls,omitempty"`
}

// LabelValue is the value of a label.
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')",message="write a label value of letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
type LabelValue string

// IngressTLS names the certificate of an Ingress: a Secret that holds it, or the
// issuer that cert-manager gets it from.
// +kubebuilder:validation:XValidation:rule="has(self.secretName) || has(self.issuerRef)",message="write secretName, the name of a Secret that has a certificate, or issuerRef, to have cert-manager get one"
type IngressTLS struct {
	// secretName is a Secret of type kubernetes.io/tls in the instance's
	// namespace. Its certificate must cover every host of the instance: HOSTNAME,
	// and docker.HOSTNAME (or *.HOSTNAME) when subdomainIsolation is Enabled. With
	// issuerRef, it is where cert-manager keeps the certificate, and INSTANCE-packages-tls
	// by default.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="write the metadata.name of a Secret: lower-case letters, digits, '-' and '.', such as packages-tls"
	SecretName string `json:"secretName,omitempty"`

	// issuerRef has cert-manager get a certificate for exactly the hosts of the
	// instance, and renew it. The cluster needs cert-manager for it.
	// +optional
	IssuerRef *IssuerReference `json:"issuerRef,omitempty"`
}

// IssuerReference names an issuer of cert-manager.
// +kubebuilder:validation:XValidation:rule="self.group != 'cert-manager.io' || self.kind in ['Issuer', 'ClusterIssuer']",fieldPath=".kind",message="write Issuer or ClusterIssuer, or the group of another kind of issuer"
type IssuerReference struct {
	// name is the issuer's metadata.name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="write the metadata.name of an issuer, such as letsencrypt"
	Name string `json:"name"`

	// kind is Issuer, one of the instance's namespace, or ClusterIssuer; another kind if
	// group is another. Default: Issuer.
	// +optional
	// +kubebuilder:default=Issuer
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z][A-Za-z0-9]*$')",message="write the kind of an issuer: Issuer or ClusterIssuer"
	Kind string `json:"kind,omitempty"`

	// group is the API group of the issuer's kind. Default: cert-manager.io.
	// +optional
	// +kubebuilder:default=cert-manager.io
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="write an API group, such as cert-manager.io"
	Group string `json:"group,omitempty"`
}

// PackagesInstanceStatus is what the operator last saw of an instance.
type PackagesInstanceStatus struct {
	// observedGeneration is the metadata.generation that this status speaks of; -1
	// until the operator has looked at the object.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions say how the instance is: Ready, Reconciling and Stalled as
	// kstatus defines them, and Accepted, which is False while another instance
	// holds one of its hosts.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// endpoints are where clients reach the instance.
	// +optional
	Endpoints InstanceEndpoints `json:"endpoints,omitzero"`

	// policyRevision is the revision of the policy that the registry pods were
	// last told: support mode, repositories, rights and tokens.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	PolicyRevision string `json:"policyRevision,omitempty"`

	// version is the version of the registry that the operator runs for this
	// instance.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Version string `json:"version,omitempty"`
}

// InstanceEndpoints are the places where an instance serves packages.
type InstanceEndpoints struct {
	// docker is where docker login, push and pull go. It is absent while
	// docker.support is Disabled.
	// +optional
	Docker *Endpoint `json:"docker,omitempty"`
}

// Endpoint is one place where clients reach an instance.
type Endpoint struct {
	// host is the host to name in an image reference, such as
	// docker.packages.example.com.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Host string `json:"host"`

	// url is the base URL of the endpoint, such as
	// https://docker.packages.example.com.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	URL string `json:"url"`
}

// PackagesInstance is a private Docker registry: one host name, one store, and the
// organizations, repositories and tokens that refer to it, of its own namespace and of
// those that it allows.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=packagesinstances,singular=packagesinstance,shortName=pkgi,categories=packages
// +kubebuilder:printcolumn:name="Docker",type=string,JSONPath=`.status.endpoints.docker.host`,description="The host to name in docker login, push and pull"
// +kubebuilder:printcolumn:name="Support",type=string,JSONPath=`.spec.docker.support`,description="How far the Docker registry is served"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether the instance serves what its spec says"
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why the instance is ready or not"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`,description="Time since the object was made"
// +kubebuilder:printcolumn:name="Isolation",type=string,JSONPath=`.spec.subdomainIsolation`,priority=1,description="Whether the Docker registry has a host of its own"
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.policyRevision`,priority=1,description="The policy that the registry was last told"
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.version`,priority=1,description="The version of the registry"
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1,description="What to do if the instance is not ready"
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="write a metadata.name of at most 40 lower-case letters, digits and '-', beginning with a letter: names of Services and pods are made from it"
type PackagesInstance struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the registry that you want.
	// +required
	Spec PackagesInstanceSpec `json:"spec"`

	// status is what the operator last saw; it is written by the operator alone.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status PackagesInstanceStatus `json:"status,omitzero"`
}

// PackagesInstanceList is a list of PackagesInstance objects.
// +kubebuilder:object:root=true
type PackagesInstanceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []PackagesInstance `json:"items"`
}
