// Package orkav1 holds the objects of the API group orka.macstadium.com/v1 as
// MacStadium documents them: field names and types, limits and defaults.
//
// The sources are the Orka 3 CRD reference in MacStadium's documentation and
// the API types that its Packer plugin publishes. What neither says is not here.
package orkav1

import "encoding/json"

// Group and version of the API, and the namespace that every cluster has.
const (
	Group            = "orka.macstadium.com"
	Version          = "v1"
	GroupVersion     = Group + "/" + Version
	DefaultNamespace = "orka-default"
)

// Labels and annotations of Orka's.
const (
	LabelConfig  = Group + "/vm-config" // on a VM: the template that replaces its spec
	LabelImageID = Group + "/image-id"
	LabelArch    = "kubernetes.io/arch"
	LabelJobType = Group + "/job.type"
	LabelJobName = "batch.kubernetes.io/job-name"
	LabelOldJob  = "job-name" // Kubernetes before 1.27 had this alone, later ones set both
	// LabelCustomPods is on a namespace that takes Pods of its users instead of VMs. The real mark is not documented.
	LabelCustomPods = Group + "/custom-pods"
	NoteDescribed   = Group + "/description"
	NoteCreatedBy   = Group + "/created-by"
	NoteOCIImage    = Group + "/oci-image"
	JobPush         = "registry-push"
	Finalizer       = Group + "/vm" // ours: the real one's name is not documented
	SchedulerOne    = "default"
	SchedulerOther  = "most-allocated"
)

// Arm and Amd are the architectures: Apple silicon and Intel.
const (
	Arm = "arm64"
	Amd = "amd64"
)

// A Phase is that of a VirtualMachineInstance.
type Phase string

// The phases.
const (
	Pending Phase = "Pending"
	Running Phase = "Running"
	Failed  Phase = "Failed"
)

// VMSpec is the spec of a VirtualMachineInstance.
type VMSpec struct {
	Image            string            `json:"image"`
	CPU              int               `json:"cpu"`
	Memory           *float64          `json:"memory,omitempty"` // GiB, in steps of 0.1
	NodeName         *string           `json:"nodeName,omitempty"`
	ReservedPorts    string            `json:"reservedPorts,omitempty"` // NODE:VM[/tcp|/udp],…
	ISO              *string           `json:"iso,omitempty"`
	CustomVMMetadata map[string]string `json:"customVMMetadata,omitempty"`
	SystemSerial     *string           `json:"systemSerial,omitempty"`
	Tag              *string           `json:"tag,omitempty"`
	TagRequired      *bool             `json:"tagRequired,omitempty"`
	VNCConsole       *bool             `json:"vncConsole,omitempty"`
	Scheduler        *string           `json:"scheduler,omitempty"`
	LegacyIO         *bool             `json:"legacyIO,omitempty"`
	NetBoost         *bool             `json:"netBoost,omitempty"`
	GPUPassthrough   *bool             `json:"gpuPassthrough,omitempty"`
	DisplayWidth     *int              `json:"displayWidth,omitempty"`
	DisplayHeight    *int              `json:"displayHeight,omitempty"`
	DisplayDPI       *int              `json:"displayDPI,omitempty"`
}

// VMStatus is the status of a VirtualMachineInstance.
type VMStatus struct {
	Phase           Phase  `json:"phase,omitempty"`
	Memory          string `json:"memory"`
	NodeName        string `json:"nodeName"`
	HostIP          string `json:"hostIP"`
	IP              string `json:"ip"` // to dial: the node's, in bridge mode the VM's own
	SSHPort         *int   `json:"sshPort,omitempty"`
	VNCPort         *int   `json:"vncPort,omitempty"`
	ScreenSharePort *int   `json:"screenSharePort,omitempty"`
	PortWarnings    string `json:"portWarnings"`
	StartTime       int64  `json:"startTime"` // Unix seconds
	ErrorMessage    string `json:"errorMessage"`
}

// ConfigSpec is the spec of a VirtualMachineConfig, a template for VMs.
type ConfigSpec struct {
	Image          string   `json:"image"`
	CPU            int      `json:"cpu"`
	Memory         *float64 `json:"memory,omitempty"`
	ISO            *string  `json:"iso,omitempty"`
	VNCConsole     *bool    `json:"vncConsole,omitempty"`
	NetBoost       *bool    `json:"netBoost,omitempty"`
	LegacyIO       *bool    `json:"legacyIO,omitempty"`
	GPUPassthrough *bool    `json:"gpuPassthrough,omitempty"`
	SystemSerial   *string  `json:"systemSerial,omitempty"`
	Tag            *string  `json:"tag,omitempty"`
	TagRequired    *bool    `json:"tagRequired,omitempty"`
	Scheduler      *string  `json:"scheduler,omitempty"`
	NodeName       *string  `json:"nodeName,omitempty"`
	DisplayWidth   *int     `json:"displayWidth,omitempty"`
	DisplayHeight  *int     `json:"displayHeight,omitempty"`
	DisplayDPI     *int     `json:"displayDPI,omitempty"`
}

// Where an image's content comes from.
const (
	SourceLocal     = "local"
	SourceRemote    = "remote"
	SourceVM        = "vm"
	SourceGenerated = "generated"
	SourceUpload    = "userUpload"
)

// States of an image.
const (
	ImageReady    = "Ready"
	ImageUpdating = "Updating"
	ImageFailed   = "Failed"
)

// ImageSpec is the spec of an Image.
type ImageSpec struct {
	Size            any    `json:"size,omitempty"` // "90G", or a number of bytes
	SpaceUsed       any    `json:"spaceUsed,omitempty"`
	Owner           string `json:"owner,omitempty"`
	Source          string `json:"source,omitempty"`
	SourceNamespace string `json:"sourceNamespace,omitempty"`
	SourceType      string `json:"sourceType,omitempty"`
	Destination     string `json:"destination,omitempty"`
	Checksum        string `json:"checksum,omitempty"`
}

// ImageStatus is the status of an Image.
type ImageStatus struct {
	State                string `json:"state,omitempty"`
	LastUpdatedTimestamp string `json:"lastUpdatedTimestamp,omitempty"`
	ErrorMessage         string `json:"errorMessage,omitempty"`
}

// ISOSpec is the spec of an Iso; its status is like an image's.
type ISOSpec struct {
	Size       any    `json:"size,omitempty"`
	Source     string `json:"source,omitempty"`
	SourceType string `json:"sourceType,omitempty"`
}

// RemoteImageSpec is the spec of a RemoteImage.
type RemoteImageSpec struct {
	ImageName string `json:"imageName"`
	Size      any    `json:"size,omitempty"`
}

// NodeSpec is the spec of an OrkaNode.
type NodeSpec struct {
	Tags      []string `json:"tags"`
	Namespace string   `json:"namespace"`
}

// Node phases and the one type of node that runs VMs.
const (
	NodeReady    = "READY"
	NodeNotReady = "NOT READY"
	NodeWorker   = "WORKER"
)

// NodeStatus is the status of an OrkaNode.
type NodeStatus struct {
	NodeIP                  string      `json:"nodeIP"`
	AvailableCPU            int         `json:"availableCpu"`
	AvailableMemory         string      `json:"availableMemory"`
	AvailableGPU            int         `json:"availableGpu"`
	AllocatableCPU          int64       `json:"allocatableCpu"`
	AllocatableMemory       string      `json:"allocatableMemory"`
	AllocatableGPU          int64       `json:"allocatableGpu"`
	NodeType                string      `json:"nodeType"`
	Phase                   string      `json:"phase"`
	Images                  []NodeImage `json:"images,omitempty"` // cached on the node
	KubeletVersion          string      `json:"kubeletVersion"`
	ContainerRuntimeVersion string      `json:"containerRuntimeVersion"`
	OSVersion               string      `json:"osVersion"`
}

// States of an image on a node.
const (
	CacheReady   = "Ready"
	CacheCaching = "Caching"
	CacheFailed  = "Failed"
)

// A NodeImage is an image that a node has, fetches, or could not fetch.
type NodeImage struct {
	Names        []string `json:"names,omitempty"`
	Size         int64    `json:"size,omitempty"`      // bytes
	SpaceUsed    int64    `json:"spaceUsed,omitempty"` // bytes
	Status       string   `json:"status,omitempty"`
	ErrorMessage string   `json:"errorMessage,omitempty"`
}

// UnmarshalJSON implements [json.Unmarshaler]. A state that an earlier build kept has names alone.
func (i *NodeImage) UnmarshalJSON(b []byte) error {
	var name string
	if json.Unmarshal(b, &name) == nil {
		*i = NodeImage{Names: []string{Tagged(name)}, Status: CacheReady}
		return nil
	}
	type plain NodeImage
	return json.Unmarshal(b, (*plain)(i))
}
