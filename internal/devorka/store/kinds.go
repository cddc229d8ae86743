package store

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"outrigger.dev/outrigger/internal/devorka/orkav1"
)

// A Kind is one kind of object and what the API says of it.
type Kind struct {
	Group, Version string
	Kind           string
	Plural         string
	Singular       string
	Short          []string
	Namespaced     bool
	HasStatus      bool       // has a status sub-resource
	Hidden         bool       // is served by neither door as it is
	NewSpec        func() any // nil: has none
	NewStatus      func() any
	Columns        []Column
}

// A Column is one that kubectl prints. Those of Orka's kinds are the printer columns of its published types; there is
// an Age only where a kind has no columns of its own, as with any CRD.
type Column struct {
	Name, Type, Path string // Path is dotted; its last part may be ['a key with dots']
	Wide             bool
}

// Columns and paths that several kinds have.
var (
	described  = Column{"Description", "string", "metadata.annotations['orka.macstadium.com/description']", false}
	imageState = Column{"State", "string", "status.state", false}
	imageError = Column{"Error", "string", "status.errorMessage", true}
)

const (
	archPath  = "metadata.labels['kubernetes.io/arch']"
	ownerPath = "metadata.annotations['orka.macstadium.com/created-by']"
)

// Resource names the kind in errors.
func (k *Kind) Resource() schema.GroupResource {
	return schema.GroupResource{Group: k.Group, Resource: k.Plural}
}

// APIVersion is the group and version as objects carry them.
func (k *Kind) APIVersion() string {
	if k.Group == "" {
		return k.Version
	}
	return k.Group + "/" + k.Version
}

// VMs and the rest are the kinds that there are.
var (
	VMs = &Kind{
		Group: orkav1.Group, Version: orkav1.Version, Kind: "VirtualMachineInstance", Plural: "virtualmachineinstances", Singular: "virtualmachineinstance",
		Short: []string{"vm", "vms"}, Namespaced: true, HasStatus: true,
		NewSpec: func() any { return new(orkav1.VMSpec) }, NewStatus: func() any { return new(orkav1.VMStatus) },
		Columns: []Column{
			{"IP", "string", "status.ip", false}, {"SSH", "integer", "status.sshPort", false}, {"VNC", "integer", "status.vncPort", false},
			{"Screenshare", "integer", "status.screenSharePort", false}, {"Status", "string", "status.phase", false},
			{"Image", "string", "spec.image", true}, {"CPU", "integer", "spec.cpu", true}, {"Memory", "string", "status.memory", true},
			{"Node", "string", "status.nodeName", true}, {"Architecture", "string", archPath, true},
			{"Reserved-Ports", "string", "spec.reservedPorts", true}, {"GPU-Passthrough", "boolean", "spec.gpuPassthrough", true},
			{"Owner", "string", ownerPath, true}, {"Deploy-Date", "string", "metadata.creationTimestamp", true},
			{"Display-Width", "integer", "spec.displayWidth", true}, {"Display-Height", "integer", "spec.displayHeight", true},
			{"Display-DPI", "integer", "spec.displayDPI", true},
		},
	}
	Configs = &Kind{
		Group: orkav1.Group, Version: orkav1.Version, Kind: "VirtualMachineConfig", Plural: "virtualmachineconfigs", Singular: "virtualmachineconfig",
		Short: []string{"vmconfig", "vmconfigs"}, Namespaced: true, NewSpec: func() any { return new(orkav1.ConfigSpec) },
		Columns: []Column{
			{"Image", "string", "spec.image", false}, {"CPU", "integer", "spec.cpu", false}, {"Memory", "string", "spec.memory", false},
			{"ISO", "string", "spec.iso", true}, {"VNC", "boolean", "spec.vncConsole", true}, {"Scheduler", "string", "spec.scheduler", true},
			{"Tag", "string", "spec.tag", true}, {"Tag_Required", "boolean", "spec.tagRequired", true},
			{"Node_Name", "string", "spec.nodeName", true}, {"GPU", "boolean", "spec.gpuPassthrough", true},
			{"Net_Boost", "boolean", "spec.netBoost", true}, {"System_Serial", "string", "spec.systemSerial", true},
			{"Owner", "string", ownerPath, true}, {"Display_Width", "integer", "spec.displayWidth", true},
			{"Display_Height", "integer", "spec.displayHeight", true}, {"Display_DPI", "integer", "spec.displayDPI", true},
		},
	}
	Images = &Kind{
		Group: orkav1.Group, Version: orkav1.Version, Kind: "Image", Plural: "images", Singular: "image", Namespaced: true, HasStatus: true,
		NewSpec: func() any { return new(orkav1.ImageSpec) }, NewStatus: func() any { return new(orkav1.ImageStatus) },
		Columns: []Column{
			described, {"Image-Id", "string", "metadata.labels['orka.macstadium.com/image-id']", false},
			{"Size", "string", "spec.size", false}, {"Space-Used", "string", "spec.spaceUsed", true},
			{"Type", "string", archPath, false}, imageState, imageError,
		},
	}
	RemoteImages = &Kind{
		Group: orkav1.Group, Version: orkav1.Version, Kind: "RemoteImage", Plural: "remoteimages", Singular: "remoteimage", Namespaced: true,
		NewSpec: func() any { return new(orkav1.RemoteImageSpec) },
		Columns: []Column{{"Size", "string", "spec.size", false}, {"Type", "string", archPath, false}},
	}
	ISOs = &Kind{
		Group: orkav1.Group, Version: orkav1.Version, Kind: "Iso", Plural: "isos", Singular: "iso", Namespaced: true, HasStatus: true,
		NewSpec: func() any { return new(orkav1.ISOSpec) }, NewStatus: func() any { return new(orkav1.ImageStatus) },
		Columns: []Column{described, {"Size", "string", "spec.size", false}, imageState, imageError},
	}
	RemoteISOs = &Kind{
		Group: orkav1.Group, Version: orkav1.Version, Kind: "RemoteIso", Plural: "remoteisos", Singular: "remoteiso", Namespaced: true,
		NewSpec: func() any { return new(RemoteISOSpec) },
	}
	Nodes = &Kind{
		Group: orkav1.Group, Version: orkav1.Version, Kind: "OrkaNode", Plural: "orkanodes", Singular: "orkanode", Namespaced: true, HasStatus: true,
		NewSpec: func() any { return new(orkav1.NodeSpec) }, NewStatus: func() any { return new(orkav1.NodeStatus) },
		Columns: []Column{
			{"Available-CPU", "integer", "status.availableCpu", false}, {"Available-Memory", "string", "status.availableMemory", false},
			{"Available-GPU", "integer", "status.availableGpu", true}, {"Status", "string", "status.phase", false},
			{"IP", "string", "status.nodeIP", true}, {"Allocatable-CPU", "integer", "status.allocatableCpu", true},
			{"Allocatable-Memory", "string", "status.allocatableMemory", true},
			{"Allocatable-GPU", "integer", "status.allocatableGpu", true}, {"Version", "string", "status.kubeletVersion", true},
			{"Runtime", "string", "status.containerRuntimeVersion", true}, {"OS", "string", "status.osVersion", true},
			{"Architecture", "string", archPath, true}, {"Tags", "string", "spec.tags", true},
		},
	}
	// KubeNodes are Kubernetes' own objects of the nodes, which own those of Orka.
	KubeNodes = &Kind{
		Version: "v1", Kind: "Node", Plural: "nodes", Singular: "node", Short: []string{"no"}, HasStatus: true,
		NewStatus: func() any { return new(KubeNodeStatus) },
		Columns:   []Column{{"Version", "string", "status.nodeInfo.kubeletVersion", false}},
	}
	Namespaces = &Kind{
		Version: "v1", Kind: "Namespace", Plural: "namespaces", Singular: "namespace", Short: []string{"ns"}, HasStatus: true,
		NewStatus: func() any { return new(NamespaceStatus) },
		Columns:   []Column{{"Status", "string", "status.phase", false}},
	}
	Pods = &Kind{
		Version: "v1", Kind: "Pod", Plural: "pods", Singular: "pod", Short: []string{"po"}, Namespaced: true, HasStatus: true,
		NewSpec: func() any { return new(PodSpec) }, NewStatus: func() any { return new(PodStatus) },
		Columns: []Column{{"Status", "string", "status.phase", false}},
	}
	ServiceAccounts = &Kind{
		Version: "v1", Kind: "ServiceAccount", Plural: "serviceaccounts", Singular: "serviceaccount", Short: []string{"sa"}, Namespaced: true,
	}
	// Bindings say which subjects have which of Orka's roles in a namespace.
	Bindings = &Kind{
		Version: "v1", Kind: "Binding", Plural: "bindings", Singular: "binding", Namespaced: true, Hidden: true, NewSpec: func() any { return new(BindingSpec) },
	}
	// Credentials are those of registries.
	Credentials = &Kind{
		Version: "v1", Kind: "Credential", Plural: "credentials", Singular: "credential", Namespaced: true, Hidden: true, NewSpec: func() any { return new(CredentialSpec) },
	}
	// Registry holds the images of the registries that this server plays itself.
	Registry = &Kind{
		Version: "v1", Kind: "Reference", Plural: "references", Singular: "reference", Hidden: true, NewSpec: func() any { return new(ReferenceSpec) },
	}
)

// Kinds are all of them.
var Kinds = []*Kind{
	VMs, Configs, Images, RemoteImages, ISOs, RemoteISOs, Nodes, KubeNodes, Namespaces, Pods, ServiceAccounts, Bindings, Credentials, Registry,
}

// Lookup finds a kind by group and plural name.
func Lookup(group, plural string) (*Kind, bool) {
	i := slices.IndexFunc(Kinds, func(k *Kind) bool { return k.Group == group && k.Plural == plural })
	if i < 0 {
		return nil, false
	}
	return Kinds[i], true
}

// RemoteISOSpec is the spec of a RemoteIso.
type RemoteISOSpec struct {
	ISOName string `json:"isoName"`
	Size    any    `json:"size,omitempty"`
}

// KubeNodeStatus is what of the status of a Node clients of Orka look at.
type KubeNodeStatus struct {
	Addresses []KubeNodeAddress `json:"addresses,omitempty"`
	NodeInfo  KubeNodeInfo      `json:"nodeInfo"`
}

// A KubeNodeAddress is one of a Node.
type KubeNodeAddress struct {
	Type    string `json:"type"`
	Address string `json:"address"`
}

// KubeNodeInfo says what runs on a Node.
type KubeNodeInfo struct {
	KubeletVersion          string `json:"kubeletVersion"`
	ContainerRuntimeVersion string `json:"containerRuntimeVersion"`
	OSImage                 string `json:"osImage"`
	Architecture            string `json:"architecture"`
}

// NamespaceStatus is the status of a namespace.
type NamespaceStatus struct {
	Phase string `json:"phase"`
}

// PodSpec and PodStatus are what of a Pod the push jobs of Orka have.
type PodSpec struct {
	RestartPolicy string      `json:"restartPolicy,omitempty"`
	Containers    []Container `json:"containers"`
}

// A Container is one of a Pod.
type Container struct {
	Name  string `json:"name"`
	Image string `json:"image"`
}

// PodStatus is the status of a Pod.
type PodStatus struct {
	Phase   string `json:"phase"`
	Message string `json:"message,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// BindingSpec grants a role in the binding's namespace, or in all.
type BindingSpec struct {
	Role     string   `json:"role"`
	Subjects []string `json:"subjects"` // names of users as tokens carry them
	All      bool     `json:"all,omitempty"`
}

// CredentialSpec is a login for a registry.
type CredentialSpec struct {
	Server        string `json:"server"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	AllowInsecure bool   `json:"allowInsecure"`
}

// ReferenceSpec is an image in a registry.
type ReferenceSpec struct {
	Reference string `json:"reference"`
	Disk      string `json:"disk"` // the machines' word for its content; "" is the base
	Arch      string `json:"arch"`
}
