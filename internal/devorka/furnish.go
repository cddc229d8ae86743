package devorka

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"runtime"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/internal/devorka/operator"
	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
	"outrigger.dev/outrigger/internal/fault"
)

func object(namespace, name string) *store.Object {
	return &store.Object{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

// makeNetwork chooses the addresses of the nodes and of the VMs.
func (s *Server) makeNetwork() (*operator.Network, error) {
	n := &operator.Network{Bridge: s.cfg.Bridge}
	subnet := s.subnet()
	if len(s.cfg.Addresses) == 0 {
		h := host(s.cfg.Listen)
		ip, err := netip.ParseAddr(h)
		switch {
		case h == "localhost" || (err == nil && ip.IsLoopback()):
			s.cfg.Addresses = []string{"127.0.0.1"}
			if runtime.GOOS == "linux" { // the whole of 127.0.0.0/8 is this computer there
				s.cfg.Addresses = nil
				for i := range s.cfg.Hosts + s.cfg.IntelHosts {
					s.cfg.Addresses = append(s.cfg.Addresses, fmt.Sprintf("127.%d.%d.%d", subnet[0], subnet[1], 10+i))
				}
			}
		case err == nil && !ip.IsUnspecified():
			s.cfg.Addresses = []string{h}
		default:
			return nil, fault.New(fault.Usage, "dev orka: listen address %q: which address the VMs' ports are to be told by does not follow from it", s.cfg.Listen).
				WithRemedy("Say it with --address IP.")
		}
	}
	n.VMAddress = func(i int) string { return fmt.Sprintf("127.%d.%d.%d", subnet[0], subnet[1]+1, 2+i) }
	if s.cfg.Bridge && runtime.GOOS != "linux" {
		return nil, fault.New(fault.Usage, "dev orka: bridge mode: this system has one loopback address, and each VM needs its own")
	}
	return n, nil
}

// subnet is a part of 127.0.0.0/8 that other clusters here hardly use: it is drawn by
// lot, and found again in the nodes of a state that is kept.
func (s *Server) subnet() [2]byte {
	nodes, _ := s.store.List(store.Nodes, "")
	for _, n := range nodes {
		if ip, err := netip.ParseAddr(store.Status[orkav1.NodeStatus](n).NodeIP); err == nil && ip.Is4() && ip.IsLoopback() {
			b := ip.As4()
			return [2]byte{b[1], b[2]}
		}
	}
	var b [2]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails: it crashes the program instead
	return [2]byte{64 + b[0]%128, b[1] &^ 1}
}

// What nodes say of their software. The fields are published, the values are examples.
const (
	kubeletVersion = "v1.34.0"
	runtimeVersion = "orka-engine://3.6.3"
)

var osVersions = map[string]string{orkav1.Arm: "macOS 15.6", orkav1.Amd: "Ubuntu 22.04.5 LTS"}

// furnish makes what every cluster has, unless it is there.
func (s *Server) furnish() error {
	ns := object("", orkav1.DefaultNamespace)
	ns.Status = &store.NamespaceStatus{Phase: "Active"}
	if err := s.have(store.Namespaces, ns); err != nil {
		return err
	}
	for i := range s.cfg.Hosts + s.cfg.IntelHosts {
		arch, name := orkav1.Arm, fmt.Sprintf("mini-arm-%d", i+1)
		if i >= s.cfg.Hosts {
			arch, name = orkav1.Amd, fmt.Sprintf("mini-intel-%d", i+1-s.cfg.Hosts)
		}
		o := object(orkav1.DefaultNamespace, name)
		o.Labels = map[string]string{orkav1.LabelArch: arch}
		o.Spec = &orkav1.NodeSpec{Tags: []string{}, Namespace: orkav1.DefaultNamespace}
		memory := orkav1.G(s.cfg.HostMemoryGiB)
		o.Status = &orkav1.NodeStatus{
			NodeIP: s.cfg.Addresses[i%len(s.cfg.Addresses)], AvailableCPU: s.cfg.HostCPUs, AllocatableCPU: int64(s.cfg.HostCPUs),
			AvailableMemory: memory, AllocatableMemory: memory, NodeType: orkav1.NodeWorker, Phase: orkav1.NodeReady,
			KubeletVersion: kubeletVersion, ContainerRuntimeVersion: runtimeVersion, OSVersion: osVersions[arch],
		}
		if err := s.own(o, arch); err != nil {
			return err
		}
		if err := s.have(store.Nodes, o); err != nil {
			return err
		}
	}
	remote := object(orkav1.DefaultNamespace, "90gbventurassh.orkasi")
	remote.Labels = map[string]string{orkav1.LabelArch: orkav1.Arm}
	remote.Spec = &orkav1.RemoteImageSpec{ImageName: "90GBVenturaSSH.orkasi", Size: "90G"}
	return s.have(store.RemoteImages, remote)
}

// own makes the Node of Kubernetes that an OrkaNode belongs to.
func (s *Server) own(o *store.Object, arch string) error {
	st := store.Status[orkav1.NodeStatus](o)
	n := object("", o.Name)
	n.Labels = o.Labels
	n.Status = &store.KubeNodeStatus{
		Addresses: []store.KubeNodeAddress{{Type: "InternalIP", Address: st.NodeIP}, {Type: "Hostname", Address: o.Name}},
		NodeInfo: store.KubeNodeInfo{
			KubeletVersion: st.KubeletVersion, ContainerRuntimeVersion: st.ContainerRuntimeVersion, OSImage: st.OSVersion, Architecture: arch,
		},
	}
	if err := s.have(store.KubeNodes, n); err != nil {
		return err
	}
	n, err := s.store.Get(store.KubeNodes, "", o.Name)
	if err != nil {
		return err
	}
	yes := true
	o.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: n.APIVersion, Kind: n.Kind, Name: n.Name, UID: n.UID, Controller: &yes, BlockOwnerDeletion: &yes,
	}}
	return nil
}

func (s *Server) have(k *store.Kind, o *store.Object) error {
	_, err := s.store.Create(k, o)
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
