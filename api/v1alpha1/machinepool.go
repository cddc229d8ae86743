package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// A MachinePool keeps machines of one kind: some idle and warm, more on demand.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.warm,statuspath=.status.machines
// +kubebuilder:resource:scope=Cluster,shortName=mpool,categories=outrigger
// +kubebuilder:printcolumn:name="OS",type=string,JSONPath=`.spec.os`
// +kubebuilder:printcolumn:name="Warm",type=integer,JSONPath=`.spec.warm`,description="idle machines wanted"
// +kubebuilder:printcolumn:name="Max",type=integer,JSONPath=`.spec.max`
// +kubebuilder:printcolumn:name="Idle",type=integer,JSONPath=`.status.idle`
// +kubebuilder:printcolumn:name="Leased",type=integer,JSONPath=`.status.leased`
// +kubebuilder:printcolumn:name="Starting",type=integer,JSONPath=`.status.starting`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.failed`
// +kubebuilder:printcolumn:name="Queued",type=integer,JSONPath=`.status.queued`,description="claims that wait"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Arch",type=string,JSONPath=`.spec.arch`,priority=1
// +kubebuilder:printcolumn:name="Image",type=string,JSONPath=`.status.image`,priority=1,description="what machines are made from now"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MachinePool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec MachinePoolSpec `json:"spec"`
	// +optional
	Status MachinePoolStatus `json:"status,omitempty"`
}

// A MachinePoolSpec says which machines, and how many.
//
// +kubebuilder:validation:XValidation:rule="!has(self.warm) || self.warm <= self.max",message="warm is more than max: lower warm or raise max"
// +kubebuilder:validation:XValidation:rule="self.os == oldSelf.os && self.arch == oldSelf.arch",message="os and arch of a pool cannot be changed: make another pool"
// +kubebuilder:validation:XValidation:rule="!has(self.reuse) || self.reuse.policy != 'Revert' || has(self.provider.qemu)",message="reuse.policy Revert needs a provider that takes snapshots: qemu"
// +kubebuilder:validation:XValidation:rule="!has(self.provider.orka) || !has(self.provider.orka.vmConfig) || !has(self.image) || size(self.image) == 0",message="image and provider.orka.vmConfig exclude each other"
// +kubebuilder:validation:XValidation:rule="!has(self.imageFrom) || !has(self.image) || size(self.image) == 0",message="image and imageFrom exclude each other"
// +kubebuilder:validation:XValidation:rule="!has(self.imageFrom) || !has(self.provider.orka) || !has(self.provider.orka.vmConfig)",message="imageFrom and provider.orka.vmConfig exclude each other"
// +kubebuilder:validation:XValidation:rule="!has(self.imageFrom) || has(self.provider.orka) || has(self.provider.qemu)",message="imageFrom needs a provider that keeps images: orka or qemu"
// +kubebuilder:validation:XValidation:rule="!has(self.preparation) || !has(self.preparation.buildKeychain) || self.os == 'darwin'",message="preparation.buildKeychain needs macOS: set os to darwin or leave it out"
// +kubebuilder:validation:XValidation:rule="!has(self.preparation) || !has(self.preparation.disablePasswordLogin) || !self.preparation.disablePasswordLogin || self.os != 'windows'",message="preparation.disablePasswordLogin is for macOS and Linux: on Windows turn it off in the image"
// +kubebuilder:validation:XValidation:rule="!has(self.preparation) || !has(self.preparation.disablePasswordLogin) || !self.preparation.disablePasswordLogin || !has(self.provider.local)",message="preparation.disablePasswordLogin would change the controller's own computer: machines of the provider local have no passwords"
// +kubebuilder:validation:XValidation:rule="!has(self.reach) || !(has(self.provider.local) || has(self.provider.qemu))",message="reach is for machines elsewhere: those of local and qemu are on the controller's own computer"
// +kubebuilder:validation:XValidation:rule="has(self.trust) || has(self.allowedNamespaces) || !(has(self.provider.ssh) || has(self.reuse) && has(self.reuse.policy) && self.reuse.policy == 'Clean' && !has(self.provider.local))",message="machines of this pool serve claims one after another and keep what a claim can hide: set trust to None (ssh hosts of macOS or Linux whose login becomes root: a system user for each slot), trust to Shared, or allowedNamespaces"
// +kubebuilder:validation:XValidation:rule="!has(self.trust) || self.trust != 'None' || has(self.provider.ssh) && self.os != 'windows'",message="trust None is for ssh hosts of macOS and Linux: elsewhere reuse.policy Never or Revert keeps claims apart"
// +kubebuilder:validation:XValidation:rule="!has(self.trust) || self.trust != 'None' || !has(self.preparation) || !has(self.preparation.buildKeychain) && (!has(self.preparation.require) || !self.preparation.require.exists(s, s in ['AquaSession', 'ConsoleUser', 'RootLinker']))",message="trust None excludes preparation.buildKeychain and requiring AquaSession, ConsoleUser or RootLinker: a slot's own user is not logged in at the screen and does not become root"
type MachinePoolSpec struct {
	// The operating system of the machines, in Go's word for it.
	// +kubebuilder:validation:Enum=darwin;linux;windows
	// +required
	OS string `json:"os"`
	// The architecture of the machines, in Go's word for it.
	// +kubebuilder:validation:Enum=amd64;arm64
	// +required
	Arch string `json:"arch"`
	// Where the machines come from: exactly one of its fields.
	// +required
	Provider ProviderSpec `json:"provider"`
	// The image that machines are made from, in the provider's own word; empty: the provider's default.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Image string `json:"image,omitempty"`
	// The MachineImage whose image machines are made from, instead of image. When it is built anew, machines of the former
	// one are replaced as they become idle, as far as others stand in for them.
	// +optional
	ImageFrom *ImageReference `json:"imageFrom,omitempty"`
	// How to log in to a machine the first time. Later logins use keys that Outrigger makes.
	// +optional
	Login *LoginSpec `json:"login,omitempty"`
	// What becomes of a Pod that must not run as root (runAsNonRoot, or a runAsUser other than 0) where its commands would,
	// since login.user is root. Refuse: it is not created. Accept: its commands run as root.
	// +kubebuilder:default=Refuse
	// +optional
	NonRootPods NonRootPolicy `json:"nonRootPods,omitempty"`
	// What machines are like before a claim gets one.
	// +optional
	Preparation *PreparationSpec `json:"preparation,omitempty"`
	// How many machines stand idle and prepared, on top of those in use.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	// +kubebuilder:default=1
	// +optional
	Warm *int32 `json:"warm,omitempty"`
	// How many machines there may be at most, in use or not.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	// +required
	Max int32 `json:"max"`
	// How many machines may be under creation at a time; until they are prepared, four times as many.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:default=4
	// +optional
	MaxCreating int32 `json:"maxCreating,omitempty"`
	// What becomes of a machine after a claim.
	// +optional
	Reuse *ReuseSpec `json:"reuse,omitempty"`
	// How long a machine may take from its creation until it is prepared.
	// +kubebuilder:default="10m"
	// +optional
	BootTimeout *metav1.Duration `json:"bootTimeout,omitempty"`
	// How long and how many machines stay after their holders have failed.
	// +optional
	Keep *KeepSpec `json:"keep,omitempty"`
	// How long a Pod may hold a machine until a node has taken the Pod. Then the machine is given back, and the Pod fails.
	// +kubebuilder:default="15m"
	// +optional
	ScheduleTimeout *metav1.Duration `json:"scheduleTimeout,omitempty"`
	// The way to the machines and to the provider's API; unset: directly.
	// +optional
	Reach *ReachSpec `json:"reach,omitempty"`
	// The namespaces whose Pods may use this pool; unset: all.
	// +optional
	AllowedNamespaces *metav1.LabelSelector `json:"allowedNamespaces,omitempty"`
	// The highest priority that a claim may have; one that asks for more is served as if it had asked for this, and
	// a Pod that does is refused. Unset: 0, and such Pods are warned, not refused: whoever may use the pool could go
	// before all others.
	// +optional
	MaxPriority *int32 `json:"maxPriority,omitempty"`
	// Whether claims that get the same computer, at once or one after another, trust each other. None: each slot has a
	// system user of its own, whose processes end and whose home is made anew after each claim. Shared: they all run as
	// the login's user. Unset: as Shared, for allowedNamespaces alone.
	// +optional
	Trust Trust `json:"trust,omitempty"`
	// Size of a machine, where the provider can choose; 0: its default.
	// +kubebuilder:validation:Minimum=0
	// +optional
	CPUs int32 `json:"cpus,omitempty"`
	// Memory of a machine in MiB, where the provider can choose; 0: its default.
	// +kubebuilder:validation:Minimum=0
	// +optional
	MemoryMiB int32 `json:"memoryMiB,omitempty"`
}

// Trust is what the claims of a pool have for each other.
// +kubebuilder:validation:Enum=None;Shared
type Trust string

// The kinds of trust.
const (
	TrustNone   Trust = "None"   // each slot has a user of its own
	TrustShared Trust = "Shared" // all run as the login's user
)

// An ImageReference names a MachineImage.
type ImageReference struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// A ReachSpec says how the controller, and the Pods that hold machines, reach them.
//
// +kubebuilder:validation:XValidation:rule="has(self.network) != has(self.proxies)",message="reach wants either network, of the controller's hub, or proxies"
type ReachSpec struct {
	// A network of the hub that the controller is given with --hub-url. A Pod gets a
	// pass for its own machine's address and nothing else.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +optional
	Network string `json:"network,omitempty"`
	// Proxies that are passed in order. They take no password: one that wants a
	// password belongs behind a hub, so that no Pod has it.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:items:MaxLength=300
	// +kubebuilder:validation:items:Pattern=`^(socks5|http)://[^/@?#]+$`
	// +optional
	Proxies []string `json:"proxies,omitempty"`
}

// A ProviderSpec names one provider.
//
// +kubebuilder:validation:XValidation:rule="[has(self.local), has(self.ssh), has(self.qemu), has(self.orka)].filter(x, x).size() == 1",message="exactly one provider is wanted: local, ssh, qemu or orka"
type ProviderSpec struct {
	// Machines that are processes of the controller's own computer. They isolate nothing: for trying things.
	// +optional
	Local *LocalProvider `json:"local,omitempty"`
	// Computers that exist already, reached by SSH.
	// +optional
	SSH *SSHProvider `json:"ssh,omitempty"`
	// QEMU virtual machines on the controller's computer.
	// +optional
	QEMU *QEMUProvider `json:"qemu,omitempty"`
	// Virtual machines of a MacStadium Orka cluster.
	// +optional
	Orka *OrkaProvider `json:"orka,omitempty"`
}

// A LocalProvider has nothing to say.
type LocalProvider struct{}

// An SSHProvider lists computers.
type SSHProvider struct {
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1000
	// +listType=map
	// +listMapKey=address
	Hosts []SSHHost `json:"hosts"`
}

// An SSHHost is one computer with room for Slots machines at a time.
type SSHHost struct {
	// Name or address, without a port.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Address string `json:"address"`
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +kubebuilder:default=22
	// +optional
	Port int32 `json:"port,omitempty"`
	// How many claims it serves at a time.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:default=1
	// +optional
	Slots int32 `json:"slots,omitempty"`
	// The host's keys in authorized_keys format; unset: the first contact pins them.
	// +kubebuilder:validation:MaxItems=16
	// +optional
	HostKeys []string `json:"hostKeys,omitempty"`
	// The folder on the host under which Outrigger keeps its files; empty: ~/.outrigger.
	// +optional
	Root string `json:"root,omitempty"`
}

// A QEMUProvider says how virtual machines are run.
type QEMUProvider struct {
	// The address of the controller's computer on which the machines' SSH
	// ports are opened. Pods must reach it; empty: 127.0.0.1.
	// +optional
	Listen string `json:"listen,omitempty"`
	// Cut the machines off from every network but the SSH connection.
	// +optional
	Isolated bool `json:"isolated,omitempty"`
	// +kubebuilder:validation:Enum=auto;kvm;tcg
	// +optional
	Accel string `json:"accel,omitempty"`
}

// A LoginSpec says how to log in to a machine that was just made.
type LoginSpec struct {
	// +kubebuilder:validation:MinLength=1
	User string `json:"user"`
	// A Secret in the controller's namespace with the key "password" or "ssh-privatekey".
	// +kubebuilder:validation:MinLength=1
	// +optional
	SecretName string `json:"secretName,omitempty"`
}

// NonRootPolicy says what becomes of a Pod that must not run as root where the machines' user is root.
// +kubebuilder:validation:Enum=Refuse;Accept
type NonRootPolicy string

// The policies for such Pods.
const (
	NonRootRefuse NonRootPolicy = "Refuse" // it is not created
	NonRootAccept NonRootPolicy = "Accept" // its commands run as root
)

// ReusePolicy says what becomes of a machine after a claim.
// +kubebuilder:validation:Enum=Never;Clean;Revert
type ReusePolicy string

// The reuse policies.
const (
	ReuseNever  ReusePolicy = "Never"  // it is deleted
	ReuseClean  ReusePolicy = "Clean"  // its lease's folder and processes are removed
	ReuseRevert ReusePolicy = "Revert" // the provider puts it back to how it was
)

// A ReuseSpec says how long a machine serves.
type ReuseSpec struct {
	// Never: a machine serves one claim, then is deleted. Clean: the claim's
	// files and processes are removed, the machine stays; for teams that trust
	// each other. Revert: the provider puts it back to how it was.
	// +kubebuilder:default=Never
	// +optional
	Policy ReusePolicy `json:"policy,omitempty"`
	// After so many claims a machine is replaced; 0: no limit.
	// +kubebuilder:validation:Minimum=0
	// +optional
	MaxUses int32 `json:"maxUses,omitempty"`
	// A machine older than this is replaced once it is idle; unset: no limit.
	// +optional
	MaxAge *metav1.Duration `json:"maxAge,omitempty"`
}

// A KeepSpec limits how long and how many machines stay with claims whose holders have failed: where the claim asks for
// it with keep, and where results did not all come back.
type KeepSpec struct {
	// The longest time that a machine is kept; a claim that asks for more gets this.
	// +kubebuilder:default="24h"
	// +optional
	MaxDuration *metav1.Duration `json:"maxDuration,omitempty"`
	// How long a machine is kept whose results did not all come back; 0s: it is not.
	// +kubebuilder:default="2h"
	// +optional
	Results *metav1.Duration `json:"results,omitempty"`
	// How many machines may be kept at a time; unset: as many as ask for it, and for results a quarter of the pool's max,
	// at least one. While so many are kept the machine of another claim is given back at once, and an event says so.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Max *int32 `json:"max,omitempty"`
}

// A MachinePoolStatus counts.
type MachinePoolStatus struct {
	// The generation that the counts are of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// The image that machines are made from now; empty: the provider's default, or imageFrom names none that is built.
	// +optional
	Image string `json:"image,omitempty"`
	// All machines, in whatever phase.
	// +optional
	Machines int32 `json:"machines"`
	// Prepared and free.
	// +optional
	Idle int32 `json:"idle"`
	// In use, or being released.
	// +optional
	Leased int32 `json:"leased"`
	// Being created, booted or prepared.
	// +optional
	Starting int32 `json:"starting"`
	// Given up, and about to be deleted.
	// +optional
	Failed int32 `json:"failed"`
	// Claims that wait for a machine of this pool.
	// +optional
	Queued int32 `json:"queued"`
	// How long machines took lately from creation to idle, as a moving average.
	// +optional
	StartTime *metav1.Duration `json:"startTime,omitempty"`
	// How long claims lately held a machine, as a moving average.
	// +optional
	LeaseTime *metav1.Duration `json:"leaseTime,omitempty"`
	// Creation is not tried again before this time, since it failed lately.
	// +optional
	BackoffUntil *metav1.Time `json:"backoffUntil,omitempty"`
	// Creations that failed one after another.
	// +optional
	Failures int32 `json:"failures,omitempty"`
	// Ready, Capacity, ProviderHealthy, MachinesHealthy, TokenValid where the provider's token ends some day, and ImageReady where
	// imageFrom is used.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Conditions of a pool.
const (
	PoolReady           = "Ready"           // its claims are being served
	PoolProviderHealthy = "ProviderHealthy" // the last creation or listing worked; else the provider's own words
	PoolTokenValid      = "TokenValid"      // the provider's token does not end within days
	PoolImageReady      = "ImageReady"      // imageFrom names an image that is built
	PoolCapacity        = "Capacity"        // another machine could be made: max is not reached, the provider has room
	PoolMachinesHealthy = "MachinesHealthy" // the machines answer; else which do not, and whether they are replaced
)

// +kubebuilder:object:root=true

// A MachinePoolList is a list of pools.
type MachinePoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MachinePool `json:"items"`
}
