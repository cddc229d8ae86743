package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// A MachineImage is an image that is built: a base, files and a script. It is built again when one of these changes,
// and pools that name it go over to the new one without a gap.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=mimg,categories=outrigger
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 50 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="the name becomes the beginning of the images' names: at most 50 of a-z, 0-9 and -, starting with a letter and not ending in -"
// +kubebuilder:printcolumn:name="Pool",type=string,JSONPath=`.spec.pool`,description="where it is built"
// +kubebuilder:printcolumn:name="Image",type=string,JSONPath=`.status.image`,description="what pools make machines from"
// +kubebuilder:printcolumn:name="Built",type=string,JSONPath=`.status.conditions[?(@.type=="Built")].status`,description="whether that is the image of what is asked for now"
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Built")].reason`
// +kubebuilder:printcolumn:name="Machine",type=string,JSONPath=`.status.build.machine`,description="where it is being built, or which was kept after a failure"
// +kubebuilder:printcolumn:name="Previous",type=string,JSONPath=`.status.images[1].name`,priority=1,description="the image before, to go back to"
// +kubebuilder:printcolumn:name="Base",type=string,JSONPath=`.spec.base`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Built")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MachineImage struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec MachineImageSpec `json:"spec"`
	// +optional
	Status MachineImageStatus `json:"status,omitempty"`
}

// A MachineImageSpec says what is in the image.
//
// +kubebuilder:validation:XValidation:rule="has(self.script) != has(self.scriptFrom)",message="exactly one is wanted: script or scriptFrom"
type MachineImageSpec struct {
	// The MachinePool whose machines build it: its provider keeps the images, its queue, max, login and preparation count.
	// The pool may be one that uses the image.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="pool cannot be changed, since the images are where it has them: make another MachineImage"
	// +required
	Pool string `json:"pool"`
	// The image to begin with, in the provider's own word.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +required
	Base string `json:"base"`
	// What is run on a machine of the base, as the login's user. Its first line may name who runs it ("#!/bin/zsh"); else a
	// shell does. Shells stop at the first command that fails.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=262144
	// +optional
	Script string `json:"script,omitempty"`
	// The script, from a ConfigMap in the controller's namespace.
	// +optional
	ScriptFrom *KeyReference `json:"scriptFrom,omitempty"`
	// Files that are on the machine before the script begins, and stay in the image.
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=path
	// +optional
	Files []ImageFile `json:"files,omitempty"`
	// Use this image, whatever was built last: one of status.images, to go back, or another that the provider has. Nothing is
	// built meanwhile. Empty: the one of the inputs above.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Use string `json:"use,omitempty"`
	// How many images before the one in use are kept.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=20
	// +kubebuilder:default=1
	// +optional
	History *int32 `json:"history,omitempty"`
	// Keep the machine for so long after the script failed, to look at it. It counts against the pool's max meanwhile.
	// +optional
	KeepOnFailure *metav1.Duration `json:"keepOnFailure,omitempty"`
	// How long a build may take once it has a machine, the saving included.
	// +kubebuilder:default="3h"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// What becomes of the images when this object is deleted. Retain: they stay, for pools and clusters that name them; an
	// object like this one finds them again. Delete: they go once no machine uses them.
	// +kubebuilder:default=Retain
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// DeletionPolicy says what becomes of images whose object is deleted.
// +kubebuilder:validation:Enum=Retain;Delete
type DeletionPolicy string

// The deletion policies.
const (
	DeletionRetain DeletionPolicy = "Retain"
	DeletionDelete DeletionPolicy = "Delete"
)

// A KeyReference names a key of a ConfigMap or a Secret in the controller's namespace.
type KeyReference struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`
}

// An ImageFile is one file that the image gets.
//
// +kubebuilder:validation:XValidation:rule="has(self.configMap) != has(self.secret)",message="exactly one is wanted: configMap or secret"
type ImageFile struct {
	// Where it is on the machine: absolute, C:/ci/tool.cfg on Windows, or ~/.zprofile below the login's home folder.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^(~/|/|[A-Za-z]:/)([^\\]*[^/\\])$`
	Path string `json:"path"`
	// Its mode bits, where the system has such; unset: 0644.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=511
	// +optional
	Mode *int32 `json:"mode,omitempty"`
	// Its content, from a ConfigMap in the controller's namespace.
	// +optional
	ConfigMap *KeyReference `json:"configMap,omitempty"`
	// Its content, from a Secret in the controller's namespace. Everybody who has a machine of the image can read it.
	// +optional
	Secret *KeyReference `json:"secret,omitempty"`
}

// A MachineImageStatus says which images there are, and how the build stands.
type MachineImageStatus struct {
	// The generation that the rest is of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// The image that pools which name this object make machines from. It stays the former one until the next is built.
	// +optional
	Image string `json:"image,omitempty"`
	// The name that the image of the present inputs has: the object's name and the beginning of a hash of the base, the
	// script and the files.
	// +optional
	Wanted string `json:"wanted,omitempty"`
	// The base as it was seen last: its name, "@", and when it was made, where the provider says that. A base that is built
	// anew under its name makes another image.
	// +optional
	BaseID string `json:"baseID,omitempty"`
	// The images that were built and are kept, the last that was in use first.
	// +listType=atomic
	// +optional
	Images []BuiltImage `json:"images,omitempty"`
	// The build that is under way, or the last one that was.
	// +optional
	Build *ImageBuild `json:"build,omitempty"`
	// Built, Ready.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// A BuiltImage is an image that the provider has.
type BuiltImage struct {
	Name string `json:"name"`
	// What it was built from.
	// +optional
	Base string `json:"base,omitempty"`
	// When it was built, or found to exist already.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
	// How long the build took, from the claim on; unset: it existed already.
	// +optional
	Took *metav1.Duration `json:"took,omitempty"`
	// On the provider's disk, where it says so.
	// +optional
	Bytes int64 `json:"bytes,omitempty"`
}

// An ImageBuild is one try to build an image.
type ImageBuild struct {
	// The image that is, or was, to be built.
	Image string `json:"image"`
	// Its MachineClaim in the controller's namespace.
	// +optional
	Claim string `json:"claim,omitempty"`
	// That claim's UID.
	// +optional
	ClaimUID string `json:"claimUID,omitempty"`
	// The machine on which it is built, or which is kept after it failed.
	// +optional
	Machine string `json:"machine,omitempty"`
	// How far it is.
	// +optional
	Phase BuildPhase `json:"phase,omitempty"`
	// When the claim was made.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// When the script began.
	// +optional
	ScriptAt *metav1.Time `json:"scriptAt,omitempty"`
	// +optional
	EndedAt *metav1.Time `json:"endedAt,omitempty"`
	// The line of the script that failed; 0: none did, or it is not known.
	// +optional
	FailedLine int32 `json:"failedLine,omitempty"`
	// The last lines that files and script have printed so far.
	// +optional
	Output string `json:"output,omitempty"`
	// Until when a failed build's machine is kept.
	// +optional
	KeptUntil *metav1.Time `json:"keptUntil,omitempty"`
	// Builds of these inputs that have failed one after another.
	// +optional
	Failures int32 `json:"failures,omitempty"`
	// A failed build is tried again at this time; a change of spec or inputs does not wait for it.
	// +optional
	RetryAt *metav1.Time `json:"retryAt,omitempty"`
}

// BuildPhase says how far a build is.
// +kubebuilder:validation:Enum=Queued;Script;Saving;Done;Failed
type BuildPhase string

// The phases of a build.
const (
	BuildQueued BuildPhase = "Queued" // its claim waits for a machine
	BuildScript BuildPhase = "Script" // files and script are at work
	BuildSaving BuildPhase = "Saving" // the machine is left as it was found, and the provider saves it
	BuildDone   BuildPhase = "Done"
	BuildFailed BuildPhase = "Failed" // the condition Built says why
)

// Conditions of an image.
const (
	ImageBuilt = "Built" // the image in use is the one that is asked for
	ImageReady = "Ready" // there is one to make machines from
)

// Reasons of the condition Built, beside the kinds of fault.
const (
	ReasonImageBuilt        = "Built"        // True: it was built here
	ReasonImageExists       = "Exists"       // True: the provider had one of that name, so of these inputs, already
	ReasonImagePinned       = "Pinned"       // True: spec.use names it
	ReasonImageQueued       = "Queued"       // its claim waits for a machine
	ReasonImageBuilding     = "Building"     // files and script are at work
	ReasonImageSaving       = "Saving"       // the provider saves the machine
	ReasonImageScriptFailed = "ScriptFailed" // the message says at which line
	ReasonImageNoInput      = "InputMissing" // a ConfigMap or a Secret, or a key of it, is not there
	ReasonImageNoPool       = "PoolNotFound" // there is no such MachinePool
	ReasonImageUnsupported  = "NotSupported" // the pool's provider keeps no images
	ReasonImageTimeout      = "BuildTimeout" // it took longer than spec.timeout
	ReasonImageUnknown      = "UnknownImage" // the provider has no image that spec.use names
	ReasonImageDeleting     = "Deleting"     // deletionPolicy is Delete, and images are in use
)

// +kubebuilder:object:root=true

// A MachineImageList is a list of images.
type MachineImageList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MachineImage `json:"items"`
}
