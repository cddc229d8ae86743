package orkaapi

import "maps"

// Fields are the names on the wire that no public source of Orka states. Each may be
// set to what a cluster's own description says (ENDPOINT/api/v1/swagger).
type Fields map[string]string

// The keys of [Fields].
const (
	fieldMetadata     = "metadata"
	fieldVNCConsole   = "vncConsole"
	fieldISO          = "iso"
	fieldSerial       = "systemSerial"
	fieldDisplayDPI   = "displayDPI"
	fieldMetadataPath = "metadataPath"
	fieldPullName     = "pullName"
	fieldUncachePath  = "imagecacheRemovePath"
	fieldUncacheImage = "imagecacheImage"
)

// A Doubt is something that this client relies on though no public source states it.
type Doubt struct {
	Key     string // of [Fields], if it is a name that can be set; else ""
	Assumed string
	Doubt   string
}

// Doubts is all of it. A part of this client that needs such a thing takes it from here.
var Doubts = []Doubt{
	{fieldMetadata, "customVMMetadata", "REST name of a VM's own metadata on deploy: only the name in the Kubernetes object is published"},
	{fieldVNCConsole, "vncConsole", "REST name of the switch for the VNC console: taken from the Kubernetes object"},
	{fieldISO, "iso", "REST name of an attached ISO: taken from the Kubernetes object"},
	{fieldSerial, "systemSerial", "REST name of the serial number: taken from the Kubernetes object"},
	{fieldDisplayDPI, "displayDPI", "the documentation writes displayDPI, one published client displayDpi; a Go server takes both"},
	{fieldMetadataPath, "http://169.254.169.254/metadata/orka_vm_name", "path and form of the VM's own name in its metadata service: only the keys are published"},
	{fieldPullName, "name", "what the body of a pull from the catalogue of remote images calls the new image"},
	{fieldUncachePath, "/api/v1/imagecache/remove", "path by which nodes forget an image: the notes of 3.6 print /v1/imagecache/remove, all others begin with /api/v1"},
	{fieldUncacheImage, "image", "what the body of that call calls the image; that it names nodes or says all is published"},
	{"", "any 2xx", "which success codes POST and DELETE answer with, and whether DELETE is synchronous: any 2xx is success, no body is needed, and we look until the VM is gone"},
	{"", "look by name", "status and text of a deploy that missed its time, found no node, no image or a taken name: none is matched; after any failure the VM is looked for by its name, and the nodes and the image are asked"},
	{"", "either", "whether a VM that missed its deploy time stays Pending or is deleted by the server: both are taken for no capacity, and what is left is deleted"},
	{"", "nodeName means placed", "whether a Pending VM that has its node, and only waits for its image, says so: if no node is named, the nodes' free CPUs decide"},
	{"", "404 Status", "how an unknown VM, namespace or image is answered"},
	{"", "same as the list's", "the fields of one VM and of one image: as in the lists"},
	{"", "absent means 22", "the SSH port of a VM in bridge mode: its own 22 unless another is said"},
	{"", "no label", "whether a REST deploy can set a label: none is documented, so a VM's name carries the mark of its owner"},
	{"", "orka-default", "the namespace of the nodes' objects, and that the names in status.images are images as a deploy names them, :latest added or not: only outrigger doctor looks there, and says nothing of them if they are elsewhere"},
	{"", "2 VMs of this namespace", "whether an Apple-silicon host counts VMs of other namespaces and kinds towards its two: only those that are listed are counted here, Orka decides"},
}

func defaultFields() Fields {
	out := Fields{}
	for _, d := range Doubts {
		if d.Key != "" {
			out[d.Key] = d.Assumed
		}
	}
	return out
}

func (f Fields) withDefaults() Fields {
	all := defaultFields()
	maps.Copy(all, f)
	return all
}

// Unknown returns the first key that is no key of [Doubts], or "".
func (f Fields) Unknown() string {
	known := defaultFields()
	for key := range f {
		if _, ok := known[key]; !ok {
			return key
		}
	}
	return ""
}
