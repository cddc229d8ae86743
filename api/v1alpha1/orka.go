package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// An OrkaProvider says which MacStadium Orka machines come from, and what its VMs are like. What is
// not set is left to Orka.
//
// +kubebuilder:validation:XValidation:rule="!has(self.tagRequired) || !self.tagRequired || (has(self.tag) && size(self.tag) > 0)",message="tagRequired without a tag: name the tag of the nodes"
// +kubebuilder:validation:XValidation:rule="!(has(self.gpuPassthrough) && self.gpuPassthrough && has(self.vncConsole) && self.vncConsole)",message="gpuPassthrough and vncConsole exclude each other"
type OrkaProvider struct {
	// The URL of the cluster, http://10.221.188.20 or https://COMPANY.orka.app, without a path.
	// +kubebuilder:validation:Pattern=`^https?://[^/?#@\s]+/?$`
	// +kubebuilder:validation:MaxLength=512
	// +required
	Endpoint string `json:"endpoint"`
	// A Secret in the controller's namespace with the key "token": a service account's token. The key
	// "ca.crt" may hold further certificates to trust.
	// +kubebuilder:validation:MinLength=1
	// +required
	TokenSecretName string `json:"tokenSecretName"`
	// Orka's namespace; empty: orka-default.
	// +kubebuilder:validation:Pattern=`^orka-[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// Which of Orka's APIs; auto: Kubernetes' if cluster-info names it and the token may look there.
	// +kubebuilder:validation:Enum=auto;kubernetes;rest
	// +optional
	Door string `json:"door,omitempty"`
	// A VM config of Orka's as the template, instead of the pool's image.
	// +kubebuilder:validation:MaxLength=50
	// +optional
	VMConfig string `json:"vmConfig,omitempty"`
	// The node to run on.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Node string `json:"node,omitempty"`
	// default or most-allocated.
	// +kubebuilder:validation:MaxLength=32
	// +optional
	Scheduler string `json:"scheduler,omitempty"`
	// The tag of nodes to prefer, or with tagRequired to demand.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Tag string `json:"tag,omitempty"`
	// +optional
	TagRequired bool `json:"tagRequired,omitempty"`
	// Ports of the node to map: NODE:VM, with /tcp or /udp if you like.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^[0-9]{1,5}:[0-9]{1,5}(/(tcp|udp))?$`
	// +optional
	ReservedPorts []string `json:"reservedPorts,omitempty"`
	// +optional
	NetBoost *bool `json:"netBoost,omitempty"`
	// +optional
	LegacyIO *bool `json:"legacyIO,omitempty"`
	// +optional
	GPUPassthrough *bool `json:"gpuPassthrough,omitempty"`
	// +optional
	VNCConsole *bool `json:"vncConsole,omitempty"`
	// +kubebuilder:validation:MaxLength=65
	// +optional
	ISO string `json:"iso,omitempty"`
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]{8,12}$`
	// +optional
	SystemSerial string `json:"systemSerial,omitempty"`
	// +kubebuilder:validation:Minimum=1
	// +optional
	DisplayWidth int32 `json:"displayWidth,omitempty"`
	// +kubebuilder:validation:Minimum=1
	// +optional
	DisplayHeight int32 `json:"displayHeight,omitempty"`
	// +kubebuilder:validation:Minimum=1
	// +optional
	DisplayDPI int32 `json:"displayDPI,omitempty"`
	// What a VM can ask its metadata service for; neither commas nor equals signs, no secrets.
	// +kubebuilder:validation:MaxProperties=64
	// +optional
	Metadata map[string]string `json:"metadata,omitempty"`
	// Labels of the VMs' objects, through Kubernetes' API only.
	// +kubebuilder:validation:MaxProperties=64
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// From the addresses that Orka says to those that are reached from here.
	// +kubebuilder:validation:MaxProperties=1000
	// +optional
	Addresses map[string]string `json:"addresses,omitempty"`
	// Whose addresses VMs have: the node's with a mapped port, or their own; auto: as Orka describes each.
	// +kubebuilder:validation:Enum=auto;nat;bridge
	// +optional
	Network string `json:"network,omitempty"`
	// How sure we must be that the VM that answers is the one asked for; auto: nothing speaks against it;
	// require: its own metadata says so.
	// +kubebuilder:validation:Enum=auto;require
	// +optional
	Identity string `json:"identity,omitempty"`
	// All VMs of the image show the same host key.
	// +optional
	FixedHostKey bool `json:"fixedHostKey,omitempty"`
	// From the order until a VM runs; unset: 15m.
	// +optional
	DeployTimeout *metav1.Duration `json:"deployTimeout,omitempty"`
	// How long a VM may wait for a node before there counts as being no room; unset: 30s.
	// +optional
	CapacityWait *metav1.Duration `json:"capacityWait,omitempty"`
	// Names on the wire that are not published and may differ: see the reference of the configuration.
	// +kubebuilder:validation:MaxProperties=64
	// +optional
	Fields map[string]string `json:"fields,omitempty"`
}
