package v1alpha1

import "k8s.io/apimachinery/pkg/api/resource"

// A PreparationSpec says what machines are like before a claim gets one. What is not
// said is done as docs/reference/preparation.md has it.
type PreparationSpec struct {
	// Steps that are not taken, by their condition: KeepAwake on a Mac that somebody also works at.
	// +kubebuilder:validation:MaxItems=8
	// +listType=set
	// +optional
	Skip []OptionalStep `json:"skip,omitempty"`
	// Conditions that must be True, else the machine is not used: AquaSession for simulators. Without it the machine is
	// used and the condition says what it lacks.
	// +kubebuilder:validation:MaxItems=8
	// +listType=set
	// +optional
	Require []OptionalStep `json:"require,omitempty"`
	// Nobody logs in with a password once a machine is prepared. Needs a login that becomes root.
	// +optional
	DisablePasswordLogin bool `json:"disablePasswordLogin,omitempty"`
	// Less free space than this makes the condition DiskSpace False.
	// +kubebuilder:default="2Gi"
	// +optional
	MinFreeDisk *resource.Quantity `json:"minFreeDisk,omitempty"`
	// Names of the root folder that are made to lead to Outrigger's folder on a Mac, where only root can make
	// them: the first parts of mount paths. Where they are made beforehand, a claim needs no root.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9][A-Za-z0-9._-]*$`
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:default={"workspace","tekton"}
	// +listType=set
	// +optional
	RootFolders []string `json:"rootFolders,omitempty"`
	// A keychain for each claim, on a Mac.
	// +optional
	BuildKeychain *BuildKeychain `json:"buildKeychain,omitempty"`
}

// OptionalStep is a step of the preparation that a pool may skip or require.
// +kubebuilder:validation:Enum=RootAccess;DiskSpace;Clock;RootLinker;KeepAwake;ConsoleUser;AquaSession
type OptionalStep string

// A BuildKeychain names the identities that a claim's keychain holds.
type BuildKeychain struct {
	// A Secret in the controller's namespace. Each key that ends with ".p12" is an identity; NAME.password is the
	// password of NAME.p12, else "password" is.
	// +kubebuilder:validation:MinLength=1
	SecretName string `json:"secretName"`
}
