package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A MachineClaim asks for a machine of a pool, and holds it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=mclaim,categories=outrigger
// +kubebuilder:printcolumn:name="Pool",type=string,JSONPath=`.spec.pool`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Position",type=integer,JSONPath=`.status.position`
// +kubebuilder:printcolumn:name="Machine",type=string,JSONPath=`.status.machine`
// +kubebuilder:printcolumn:name="Wait",type=string,JSONPath=`.status.expectedWait`,description="how long it may still wait, guessed from the last machines and claims"
// +kubebuilder:printcolumn:name="Holder",type=string,JSONPath=`.spec.holder.name`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Bound")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MachineClaim struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec MachineClaimSpec `json:"spec"`
	// +optional
	Status MachineClaimStatus `json:"status,omitempty"`
}

// A MachineClaimSpec says which machine, for whom.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a claim cannot be changed: delete it and make another"
type MachineClaimSpec struct {
	// The MachinePool that the machine is taken from.
	// +kubebuilder:validation:MinLength=1
	Pool string `json:"pool"`
	// A machine image other than the pool's: a machine is made for this claim alone.
	// +optional
	Image string `json:"image,omitempty"`
	// A machine is made for this claim alone, also of the pool's own image, and deleted after it.
	// +optional
	Fresh bool `json:"fresh,omitempty"`
	// Higher is served first; then the older claim, with turns between namespaces.
	// +optional
	Priority int32 `json:"priority,omitempty"`
	// Who holds the machine: when it ends or vanishes the machine is released.
	// Unset: until the claim is deleted.
	// +optional
	Holder *Holder `json:"holder,omitempty"`
	// Keep the machine for so long after the holder failed, at most 24h; the pool may allow less.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="keep is at most 24h, and not negative"
	// +optional
	Keep *metav1.Duration `json:"keep,omitempty"`
	// What the holder's containers asked for, before the relay took their place.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
}

// A Holder is who a claim is for, in the claim's namespace: a Pod, or a PipelineRun of
// Tekton whose Tasks use the machine one after another.
type Holder struct {
	// +kubebuilder:validation:Enum=Pod;PipelineRun
	Kind string `json:"kind"`
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// ClaimPhase says how far a claim is.
// +kubebuilder:validation:Enum=Queued;Bound;Released;Failed
type ClaimPhase string

// The phases of a claim. An object without one is Queued.
const (
	ClaimQueued   ClaimPhase = "Queued"
	ClaimBound    ClaimPhase = "Bound"
	ClaimReleased ClaimPhase = "Released"
	ClaimFailed   ClaimPhase = "Failed" // it will never be served: the condition says why
)

// A MachineClaimStatus answers "where is my Mac?".
type MachineClaimStatus struct {
	// +optional
	Phase ClaimPhase `json:"phase,omitempty"`
	// The place in the queue, 1 is next; 0: not in it.
	// +optional
	Position int32 `json:"position,omitempty"`
	// A guess, from how long machines and claims took lately: "about 4m".
	// +optional
	ExpectedWait string `json:"expectedWait,omitempty"`
	// The Machine that is bound, or was.
	// +optional
	Machine string `json:"machine,omitempty"`
	// The Secret in the claim's namespace with which the machine is reached.
	// +optional
	SecretName string `json:"secretName,omitempty"`
	// +optional
	BoundAt *metav1.Time `json:"boundAt,omitempty"`
	// When the credentials were there and the holder could go on.
	// +optional
	ReadyAt *metav1.Time `json:"readyAt,omitempty"`
	// When the holder had ended.
	// +optional
	ReleasedAt *metav1.Time `json:"releasedAt,omitempty"`
	// Bound, Ready, Released.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Conditions of a claim.
const (
	ClaimConditionBound    = "Bound"    // False: the reason says why it waits
	ClaimConditionReady    = "Ready"    // the Secret is written
	ClaimConditionReleased = "Released" // the machine is given back
)

// +kubebuilder:object:root=true

// A MachineClaimList is a list of claims.
type MachineClaimList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MachineClaim `json:"items"`
}
