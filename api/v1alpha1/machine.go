package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// A Machine is one machine of a pool. Its name is its name at the provider,
// written here before the provider is asked to make it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=outrigger
// +kubebuilder:printcolumn:name="Pool",type=string,JSONPath=`.spec.pool`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Claim",type=string,JSONPath=`.spec.claim.name`
// +kubebuilder:printcolumn:name="Namespace",type=string,JSONPath=`.spec.claim.namespace`
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.status.address`
// +kubebuilder:printcolumn:name="Uses",type=integer,JSONPath=`.status.uses`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Machine struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec MachineSpec `json:"spec"`
	// +optional
	Status MachineStatus `json:"status,omitempty"`
}

// A MachineSpec says what the machine is and who has it.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.claim) || !has(self.claim) || self.claim.uid == oldSelf.claim.uid",message="a machine that a claim holds cannot be given to another: it must be released first"
type MachineSpec struct {
	// The pool that it belongs to.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a machine stays in its pool"
	Pool string `json:"pool"`
	// The image that it is made from.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a machine keeps its image"
	// +optional
	Image string `json:"image,omitempty"`
	// Who holds it. Written once, by the one update that binds it; never
	// changed to another claim, only emptied after the release.
	// +optional
	Claim *ClaimReference `json:"claim,omitempty"`
}

// A ClaimReference names a claim for good: a claim of the same name made later has another UID.
type ClaimReference struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

// MachinePhase says where a machine is in its life.
// +kubebuilder:validation:Enum=Pending;Creating;Booting;Preparing;Idle;Leased;Releasing;Deleting;Failed
type MachinePhase string

// The phases of a machine, in their order. An object without one is Pending.
const (
	MachinePending   MachinePhase = "Pending"   // the provider was not asked yet
	MachineCreating  MachinePhase = "Creating"  // the provider was asked; it may exist
	MachineBooting   MachinePhase = "Booting"   // it exists; SSH does not answer yet
	MachinePreparing MachinePhase = "Preparing" // SSH answers; the agent and the lease key are put in place
	MachineIdle      MachinePhase = "Idle"      // prepared and free
	MachineLeased    MachinePhase = "Leased"    // spec.claim has it
	MachineReleasing MachinePhase = "Releasing" // the claim is over; it is cleaned or about to be deleted
	MachineDeleting  MachinePhase = "Deleting"  // the provider was asked to delete it
	MachineFailed    MachinePhase = "Failed"    // given up; the condition says why
)

// A MachineStatus is what is known of the machine.
type MachineStatus struct {
	// +optional
	Phase MachinePhase `json:"phase,omitempty"`
	// When Phase changed last.
	// +optional
	PhaseSince *metav1.Time `json:"phaseSince,omitempty"`
	// Name or address of its SSH server.
	// +optional
	Address string `json:"address,omitempty"`
	// +optional
	Port int32 `json:"port,omitempty"`
	// +optional
	User string `json:"user,omitempty"`
	// Pinned at the first contact, in authorized_keys format.
	// +optional
	HostKeys []string `json:"hostKeys,omitempty"`
	// Where Outrigger keeps its files there.
	// +optional
	Root string `json:"root,omitempty"`
	// Claims that it has served.
	// +optional
	Uses int32 `json:"uses,omitempty"`
	// The kind of session that runs get: ssh, aqua, background or console.
	// +optional
	Session string `json:"session,omitempty"`
	// When it became idle for the first time.
	// +optional
	PreparedAt *metav1.Time `json:"preparedAt,omitempty"`
	// When it was bound last.
	// +optional
	LeasedAt *metav1.Time `json:"leasedAt,omitempty"`
	// Ready, and one for each thing that preparing looks at.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Conditions of a machine. All but the first two say what preparing has found.
const (
	MachineReady         = "Ready"         // it serves, or can
	MachineReachable     = "Reachable"     // SSH answered when it was last asked
	MachineSlotUser      = "SlotUser"      // claims run as a system user of the slot's own
	MachineKeyLogin      = "KeyLogin"      // it is entered with a key of its own
	MachineRootAccess    = "RootAccess"    // the login becomes root
	MachinePasswordOff   = "PasswordOff"   // nobody logs in with a password
	MachineDisk          = "DiskSpace"     // there is room for work
	MachineClock         = "Clock"         // it is right
	MachineRootLinker    = "RootLinker"    // absolute paths can be made to exist; else they are rewritten
	MachineKeepAwake     = "KeepAwake"     // it does not sleep
	MachineConsoleUser   = "ConsoleUser"   // the login's user is logged in at the screen
	MachineAquaSession   = "AquaSession"   // what runs has a window server
	MachineBuildKeychain = "BuildKeychain" // identities to sign with are there and unlocked
)

// +kubebuilder:object:root=true

// A MachineList is a list of machines.
type MachineList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Machine `json:"items"`
}
