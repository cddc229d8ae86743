//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	storageClass  = "bed"
	provisioner   = "outrigger.dev/bed"
	provisionedBy = "pv.kubernetes.io/provisioned-by"
)

const storageManifest = `apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: ` + storageClass + `, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: ` + provisioner + `
`

// storageUp starts the provisioner of the default StorageClass.
func (b *bed) storageUp(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := b.start(daemon{name: "storage", argv: []string{self, "storage", b.kubeconfig("admin"), b.in("volumes")}}); err != nil {
		return err
	}
	return b.apply(ctx, storageManifest)
}

// runStorage gives each claim of the class a folder that everybody may write to.
// The provisioner within kube-controller-manager makes folders for root alone.
func runStorage(kubeconfig, dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	claims, volumes := factory.Core().V1().PersistentVolumeClaims(), factory.Core().V1().PersistentVolumes()
	changed := make(chan struct{}, 1)
	note := func(any) {
		select {
		case changed <- struct{}{}:
		default: // it will look anyway
		}
	}
	for _, informer := range []cache.SharedIndexInformer{claims.Informer(), volumes.Informer()} {
		handler := cache.ResourceEventHandlerFuncs{AddFunc: note, UpdateFunc: func(_, v any) { note(v) }, DeleteFunc: note}
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		pvcs, err := claims.Lister().List(labels.Everything())
		if err != nil {
			return err
		}
		pvs, err := volumes.Lister().List(labels.Everything())
		if err != nil {
			return err
		}
		for _, pvc := range pvcs {
			if err := provision(ctx, client, dir, pvc); err != nil {
				fmt.Fprintf(os.Stderr, "claim %s/%s: %v\n", pvc.Namespace, pvc.Name, err)
			}
		}
		for _, pv := range pvs {
			if err := reclaim(ctx, client, pv); err != nil {
				fmt.Fprintf(os.Stderr, "volume %s: %v\n", pv.Name, err)
			}
		}
	}
}

func provision(ctx context.Context, client kubernetes.Interface, dir string, pvc *corev1.PersistentVolumeClaim) error {
	if pvc.Spec.VolumeName != "" || pvc.DeletionTimestamp != nil || pvc.Spec.StorageClassName == nil || *pvc.Spec.StorageClassName != storageClass {
		return nil
	}
	folder := filepath.Join(dir, string(pvc.UID))
	// The mode that MkdirAll is told is less what the umask says.
	if err := errors.Join(os.MkdirAll(folder, 0o777), os.Chmod(folder, 0o777)); err != nil {
		return err
	}
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pvc-" + string(pvc.UID), Annotations: map[string]string{provisionedBy: provisioner}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: pvc.Spec.Resources.Requests, AccessModes: pvc.Spec.AccessModes, StorageClassName: storageClass,
			VolumeMode:                    pvc.Spec.VolumeMode,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: folder}},
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: pvc.Namespace, Name: pvc.Name, UID: pvc.UID,
			},
		},
	}
	_, err := client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func reclaim(ctx context.Context, client kubernetes.Interface, pv *corev1.PersistentVolume) error {
	if pv.Annotations[provisionedBy] != provisioner || pv.Status.Phase != corev1.VolumeReleased || pv.DeletionTimestamp != nil {
		return nil
	}
	if err := os.RemoveAll(pv.Spec.HostPath.Path); err != nil {
		return err
	}
	err := client.CoreV1().PersistentVolumes().Delete(ctx, pv.Name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
