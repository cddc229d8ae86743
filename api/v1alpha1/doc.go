// Package v1alpha1 is Outrigger's API in Kubernetes: pools of machines, the
// machines themselves, claims on them, and images that are built for them. The
// group is outrigger.dev.
//
// MachinePools, their Machines and MachineImages belong to the cluster; a MachineClaim lives in
// the namespace of who needs a machine. What the objects say about themselves
// is all that the controller knows: it keeps no other memory.
//
// Conditions follow the Kubernetes API conventions (sig-architecture,
// api-conventions.md, "Typical status properties").
//
// +kubebuilder:object:generate=true
// +groupName=outrigger.dev
package v1alpha1

//go:generate go -C ../../tools/crdgen tool controller-gen object paths=../../api/v1alpha1
//go:generate go -C ../../tools/crdgen tool controller-gen crd:headerFile=../../tools/crdgen/header.txt paths=../../api/v1alpha1 output:crd:artifacts:config=../../deploy/kustomize/crds
//go:generate go -C ../../tools/crdgen tool controller-gen crd:headerFile=../../tools/crdgen/header.txt paths=../../api/v1alpha1 output:crd:artifacts:config=../../deploy/helm/outrigger/files/crds

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is this API's.
var GroupVersion = schema.GroupVersion{Group: "outrigger.dev", Version: "v1alpha1"}

// AddToScheme makes a scheme know these types.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&MachinePool{}, &MachinePoolList{},
		&Machine{}, &MachineList{},
		&MachineClaim{}, &MachineClaimList{},
		&MachineImage{}, &MachineImageList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
