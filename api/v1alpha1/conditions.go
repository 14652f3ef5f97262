// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Types of conditions. Ready, Reconciling and Stalled mean what kstatus says:
// Reconciling and Stalled are present only while they are True.
const (
	// ConditionReady is True when what the spec says is in force.
	ConditionReady = "Ready"
	// ConditionReconciling is True while the operator works towards the spec.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when only a person's change can bring progress.
	ConditionStalled = "Stalled"
	// ConditionAccepted is True when all of the object has effect, and False when
	// another object stands in its way, or in that of a part of it.
	ConditionAccepted = "Accepted"
	// ConditionCertificateReady is on a PackagesInstance whose Ingress names a
	// certificate: True while that covers every host for another two weeks.
	ConditionCertificateReady = "CertificateReady"
	// ConditionNamespacesSelected is on a PackagesInstance that allows namespaces by
	// a selector: True while the operator knows the labels of namespaces.
	ConditionNamespacesSelected = "NamespacesSelected"
	// ConditionExposureReady is on a PackagesInstance with exposure: True while
	// something in the cluster can be expected to lead clients to it.
	ConditionExposureReady = "ExposureReady"
)

// Reasons of conditions of every kind.
const (
	// ReasonSucceeded: what the spec says is in force.
	ReasonSucceeded = "Succeeded"
	// ReasonAccepted: nothing stands in the object's way.
	ReasonAccepted = "Accepted"
	// ReasonProgressing: the operator works towards the spec.
	ReasonProgressing = "Progressing"
	// ReasonSuspended: spec.suspend of the instance is true, and nothing runs.
	ReasonSuspended = "Suspended"
	// ReasonReconcileFailed: the Kubernetes API refused or failed; it is tried
	// again.
	ReasonReconcileFailed = "ReconcileFailed"
)

// Reasons of conditions of a PackagesInstance.
const (
	// ReasonHostConflict: an older instance holds one of the hosts.
	ReasonHostConflict = "HostConflict"
	// ReasonObjectConflict: an object of a name that the instance needs belongs to
	// somebody else.
	ReasonObjectConflict = "ObjectConflict"
	// ReasonStorageConflict: the volume claim belongs to somebody else, or cannot
	// become what the spec asks for.
	ReasonStorageConflict = "StorageConflict"
	// ReasonVolumePending: the volume claim has no volume yet.
	ReasonVolumePending = "VolumePending"
	// ReasonVolumeLost: the volume of the claim is gone.
	ReasonVolumeLost = "VolumeLost"
	// ReasonVolumeResizing: the volume is smaller than the spec asks for, and grows.
	ReasonVolumeResizing = "VolumeResizing"
	// ReasonVolumeExpansionRefused: the volume cannot grow as the spec asks.
	ReasonVolumeExpansionRefused = "VolumeExpansionRefused"
	// ReasonDataOfAnotherInstance: the volume has data that was made for another
	// instance, which is taken over only when a person says so.
	ReasonDataOfAnotherInstance = "DataOfAnotherInstance"
	// ReasonPodTemplateInvalid: no pod can be as spec.podTemplate says.
	ReasonPodTemplateInvalid = "PodTemplateInvalid"
	// ReasonPodsNotReady: the registry's pods are not ready.
	ReasonPodsNotReady = "PodsNotReady"
	// ReasonImagePullFailed: a node cannot pull the registry's image.
	ReasonImagePullFailed = "ImagePullFailed"
	// ReasonPodUnschedulable: no node takes the registry's pod.
	ReasonPodUnschedulable = "PodUnschedulable"
	// ReasonPodCrashing: the registry ends again and again.
	ReasonPodCrashing = "PodCrashing"
	// ReasonStorageFull: there is no room for what is pushed.
	ReasonStorageFull = "StorageFull"
	// ReasonDatabaseFull: the database has no room for changes.
	ReasonDatabaseFull = "DatabaseFull"
	// ReasonDatabaseUnavailable: the registry's database does not answer.
	ReasonDatabaseUnavailable = "DatabaseUnavailable"
	// ReasonStorageUnavailable: the place of the blobs does not answer.
	ReasonStorageUnavailable = "StorageUnavailable"
	// ReasonPolicyNotServed: the pods do not serve the newest policy yet.
	ReasonPolicyNotServed = "PolicyNotServed"
	// ReasonExposed: clients of every host are led to the registry.
	ReasonExposed = "Exposed"
	// ReasonExposureInvalid: the API server refuses what spec.exposure says.
	ReasonExposureInvalid = "ExposureInvalid"
	// ReasonIngressClassNotFound: there is no IngressClass of that name, or no default
	// one.
	ReasonIngressClassNotFound = "IngressClassNotFound"
	// ReasonGatewayAPINotInstalled: the cluster does not serve HTTPRoutes.
	ReasonGatewayAPINotInstalled = "GatewayAPINotInstalled"
	// ReasonGatewayNotFound: there is no Gateway of that name.
	ReasonGatewayNotFound = "GatewayNotFound"
	// ReasonRouteNotAccepted: a Gateway does not take the route of a host, or has not
	// yet.
	ReasonRouteNotAccepted = "RouteNotAccepted"
	// ReasonRouteNotResolved: a Gateway finds no way from a route to the registry.
	ReasonRouteNotResolved = "RouteNotResolved"
	// ReasonListenerNotReady: no listener of a Gateway serves a host, for want of a
	// certificate perhaps.
	ReasonListenerNotReady = "ListenerNotReady"
	// ReasonCertificateNotFound: the Secret of exposure.ingress.tls is missing or
	// holds no certificate.
	ReasonCertificateNotFound = "CertificateNotFound"
	// ReasonCertificateKeyMismatch: the key in that Secret is another one's.
	ReasonCertificateKeyMismatch = "CertificateKeyMismatch"
	// ReasonHostNotCovered: the certificate does not cover every host.
	ReasonHostNotCovered = "HostNotCovered"
	// ReasonCertificateNotYetValid: its time has not begun.
	ReasonCertificateNotYetValid = "CertificateNotYetValid"
	// ReasonCertificateExpired: its time is over.
	ReasonCertificateExpired = "CertificateExpired"
	// ReasonCertificateExpiresSoon: it expires within two weeks; until then the
	// instance is ready.
	ReasonCertificateExpiresSoon = "CertificateExpiresSoon"
	// ReasonCertManagerNotInstalled: the cluster does not serve cert-manager's
	// Certificates.
	ReasonCertManagerNotInstalled = "CertManagerNotInstalled"
	// ReasonCertificateNotIssued: cert-manager has not got the certificate, or not yet.
	ReasonCertificateNotIssued = "CertificateNotIssued"
	// ReasonCertificateConflict: what the certificate is to be kept in, or its
	// Certificate, belongs to somebody else.
	ReasonCertificateConflict = "CertificateConflict"
	// ReasonCertificateValid: clients of every host are shown a certificate for it.
	ReasonCertificateValid = "CertificateValid"
	// ReasonNamespacesSelected: selectors choose namespaces by their labels.
	ReasonNamespacesSelected = "NamespacesSelected"
	// ReasonNamespaceLabelsUnknown: the operator is limited to some namespaces, and
	// reads no labels of any: selectors choose none.
	ReasonNamespaceLabelsUnknown = "NamespaceLabelsUnknown"
)

// Reasons of conditions of a PackagesOrganization, a PackagesRepository or a
// PackagesToken.
const (
	// ReasonInstanceNotFound: instanceRef names no PackagesInstance of the namespace.
	ReasonInstanceNotFound = "InstanceNotFound"
	// ReasonNamespaceNotAllowed: instanceRef names an instance in another namespace
	// that is not there, or that does not allow this one.
	ReasonNamespaceNotAllowed = "NamespaceNotAllowed"
	// ReasonOwnerNotAllowed: the instance, in another namespace, does not allow this
	// one the owner, or that of an entry.
	ReasonOwnerNotAllowed = "OwnerNotAllowed"
	// ReasonInstanceNotReady: the instance is not ready.
	ReasonInstanceNotReady = "InstanceNotReady"
	// ReasonInvalidSpec: the spec has what the schema refuses by now, so that the
	// object has no effect.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonDuplicateRepository: another object holds the same owner and name.
	ReasonDuplicateRepository = "DuplicateRepository"
	// ReasonDuplicateOrganization: another object holds the same name.
	ReasonDuplicateOrganization = "DuplicateOrganization"
	// ReasonUserIsOrganization: what is named as a user is an organization, so the
	// token, or the entry of a list, gives nothing.
	ReasonUserIsOrganization = "UserIsOrganization"
	// ReasonNotAMember: a team lists a user who does not belong to the organization.
	ReasonNotAMember = "NotAMember"
	// ReasonTeamNotFound: access names a team that no organization has.
	ReasonTeamNotFound = "TeamNotFound"
	// ReasonServiceAccountNotFound: access names a ServiceAccount that is not there.
	ReasonServiceAccountNotFound = "ServiceAccountNotFound"
	// ReasonIssuerUnknown: access names ServiceAccounts, and the operator cannot find
	// out by which keys their tokens are signed.
	ReasonIssuerUnknown = "IssuerUnknown"
	// ReasonSecretConflict: the Secret to write belongs to somebody else.
	ReasonSecretConflict = "SecretConflict"
	// ReasonSecretNotFound: the Secret to read is missing.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonSecretKeyMissing: the Secret to read lacks the key.
	ReasonSecretKeyMissing = "SecretKeyMissing"
	// ReasonSecretValueInvalid: the value is too short, too long or not printable.
	ReasonSecretValueInvalid = "SecretValueInvalid"
	// ReasonDuplicateValue: another token has the same value, so both are refused.
	ReasonDuplicateValue = "DuplicateValue"
	// ReasonExpired: spec.expiresAt has passed.
	ReasonExpired = "Expired"
)
