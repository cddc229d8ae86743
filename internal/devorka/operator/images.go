package operator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/internal/devorka/machines"
	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
)

// noteDisk says which disk an image is. It is ours, not Orka's.
const noteDisk = "outrigger.dev/disk"

// imageSize is what images of MacStadium are: nothing here measures a disk.
const imageSize = "90G"

// disk finds the content of an image.
func (o *Operator) disk(image string) (machines.Disk, error) {
	if orkav1.IsReference(image) {
		r, ok := o.reference(image)
		if !ok {
			return "", fmt.Errorf("Image %s not found", image) //nolint:staticcheck // a sentence that Orka's users see
		}
		return machines.Disk(r.Disk), nil
	}
	img, err := o.cfg.Store.Get(store.Images, orkav1.DefaultNamespace, image)
	if err != nil {
		return "", fmt.Errorf("Image %s not found", image) //nolint:staticcheck // the same
	}
	return machines.Disk(img.Annotations[noteDisk]), nil
}

// reference finds an image in the registries that this cluster plays.
func (o *Operator) reference(ref string) (store.ReferenceSpec, bool) {
	r, err := o.cfg.Store.Get(store.Registry, "", referenceName(ref))
	if err == nil {
		return *store.Spec[store.ReferenceSpec](r), true
	}
	return store.ReferenceSpec{Reference: ref, Arch: orkav1.Arm}, public.MatchString(ref)
}

func referenceName(ref string) string {
	sum := sha256.Sum256([]byte(orkav1.Tagged(ref)))
	return hex.EncodeToString(sum[:16])
}

// Disks are those that the images of a cluster have, in it and in its registries.
func Disks(s *store.Store) []machines.Disk {
	var disks []machines.Disk
	images, _ := s.List(store.Images, "")
	for _, i := range images {
		if d := i.Annotations[noteDisk]; d != "" {
			disks = append(disks, machines.Disk(d))
		}
	}
	references, _ := s.List(store.Registry, "")
	for _, r := range references {
		if d := store.Spec[store.ReferenceSpec](r).Disk; d != "" {
			disks = append(disks, machines.Disk(d))
		}
	}
	return disks
}

// AddImage makes an image of the base, ready at once: a name, or an OCI reference.
func (o *Operator) AddImage(image, arch string) error {
	if orkav1.IsReference(image) {
		return o.publish(store.ReferenceSpec{Reference: image, Arch: arch})
	}
	_, err := o.cfg.Store.Create(store.Images, &store.Object{
		ObjectMeta: metav1.ObjectMeta{
			Name: image, Namespace: orkav1.DefaultNamespace, Labels: map[string]string{orkav1.LabelArch: arch},
			Annotations: map[string]string{orkav1.NoteDescribed: image},
		},
		Spec: &orkav1.ImageSpec{Size: imageSize}, Status: ready(),
	})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func ready() *orkav1.ImageStatus {
	return &orkav1.ImageStatus{State: orkav1.ImageReady, LastUpdatedTimestamp: time.Now().UTC().Format(time.RFC3339)}
}

func (o *Operator) publish(r store.ReferenceSpec) error {
	_, err := o.cfg.Store.Create(store.Registry, &store.Object{ObjectMeta: metav1.ObjectMeta{Name: referenceName(r.Reference)}, Spec: &r})
	if apierrors.IsAlreadyExists(err) {
		_, err = o.cfg.Store.Update(store.Registry, "", referenceName(r.Reference), func(obj *store.Object) error {
			obj.Spec = &r
			return nil
		})
	}
	return err
}

// CreateImage stores an Image and does what its sourceType asks for.
func (o *Operator) CreateImage(img *store.Object, user string) (*store.Object, error) {
	if img.Namespace != orkav1.DefaultNamespace {
		return nil, denied(store.Images, "images are in namespace %s, not in %s", orkav1.DefaultNamespace, img.Namespace)
	}
	spec := store.Spec[orkav1.ImageSpec](img)
	if img.Name == "" {
		img.Name = img.GenerateName + store.Suffix()
	}
	if err := orkav1.ImageName(img.Name); err != nil {
		return nil, denied(store.Images, "%s", err)
	}
	var job func(context.Context, machines.Disk) error
	var arch string
	var err error
	switch spec.SourceType {
	case orkav1.SourceVM:
		if spec.SourceNamespace == "" {
			spec.SourceNamespace = orkav1.DefaultNamespace
		}
		v, err := o.find(spec.SourceNamespace, spec.Source)
		if err != nil {
			return nil, denied(store.Images, "%s", err)
		}
		arch = v.demand.Arch
		job = func(ctx context.Context, d machines.Disk) error { return o.saveVM(ctx, v, d) }
	case orkav1.SourceLocal:
		from, err := o.cfg.Store.Get(store.Images, orkav1.DefaultNamespace, spec.Source)
		if err != nil {
			return nil, denied(store.Images, "Image %s not found", spec.Source)
		}
		arch = from.Labels[orkav1.LabelArch]
		if img.Annotations[orkav1.NoteDescribed] == "" {
			img.Annotations = with(img.Annotations, orkav1.NoteDescribed, from.Annotations[orkav1.NoteDescribed])
		}
		job = func(ctx context.Context, d machines.Disk) error {
			return o.slowly(ctx, func() error { return o.cfg.Place.Copy(ctx, machines.Disk(from.Annotations[noteDisk]), d) })
		}
	case orkav1.SourceRemote:
		r, err := o.cfg.Store.Get(store.RemoteImages, orkav1.DefaultNamespace, spec.Source)
		if err != nil {
			return nil, denied(store.Images, "remote image %s not found", spec.Source)
		}
		arch = r.Labels[orkav1.LabelArch]
		job = func(ctx context.Context, d machines.Disk) error {
			return o.slowly(ctx, func() error { return o.cfg.Place.Copy(ctx, "", d) })
		}
	case orkav1.SourceGenerated:
		arch = orkav1.Amd
		job = func(ctx context.Context, d machines.Disk) error { return o.cfg.Place.Copy(ctx, "", d) }
	default:
		return nil, denied(store.Images, "sourceType must be one of %s, %s, %s, %s, found %q",
			orkav1.SourceLocal, orkav1.SourceRemote, orkav1.SourceVM, orkav1.SourceGenerated, spec.SourceType)
	}
	if spec.Size, err = orElse(spec.Size, imageSize); err != nil {
		return nil, denied(store.Images, "%s", err)
	}
	if spec.SpaceUsed, err = orElse(spec.SpaceUsed, nil); err != nil {
		return nil, denied(store.Images, "%s", err)
	}
	spec.Owner = user
	img.Labels = with(img.Labels, orkav1.LabelArch, arch)
	img.Annotations = with(img.Annotations, orkav1.NoteCreatedBy, user)
	img.Status = &orkav1.ImageStatus{State: orkav1.ImageUpdating}
	made, err := o.cfg.Store.Create(store.Images, img)
	if err != nil {
		return nil, err
	}
	o.run(func() { o.fill(made.Name, job) })
	return made, nil
}

// orElse is a size, or what stands for none.
func orElse(size, none any) (any, error) {
	set, err := orkav1.SizeOf(size)
	if !set {
		size = none
	}
	return size, err
}

// fill gives an image a new disk, which job makes.
func (o *Operator) fill(image string, job func(context.Context, machines.Disk) error) {
	d := machines.Disk("disk-" + store.Suffix() + store.Suffix())
	err := job(o.ctx, d)
	if o.ctx.Err() != nil {
		return
	}
	var old machines.Disk
	_, stored := o.cfg.Store.Update(store.Images, orkav1.DefaultNamespace, image, func(img *store.Object) error {
		if err != nil {
			img.Status = &orkav1.ImageStatus{State: orkav1.ImageFailed, ErrorMessage: err.Error()}
			return nil
		}
		old = machines.Disk(img.Annotations[noteDisk])
		img.Annotations = with(img.Annotations, noteDisk, string(d))
		img.Status = ready()
		return nil
	})
	if stored != nil { // deleted meanwhile
		old = d
	}
	if err := o.cfg.Place.Remove(o.ctx, old); err != nil {
		o.cfg.Log.Warn("disk not removed", "image", image, "error", err)
	}
	// What nodes have of it is no longer what it is.
	if err := o.Uncache(image, func(*store.Object) bool { return true }); err != nil {
		o.cfg.Log.Warn("image not evicted", "image", image, "error", err)
	}
}

// DeleteImage removes an image. VMs that were made from it go on.
func (o *Operator) DeleteImage(name string) (*store.Object, error) {
	img, err := o.cfg.Store.Delete(store.Images, orkav1.DefaultNamespace, name)
	if err != nil {
		return nil, err
	}
	return img, o.cfg.Place.Remove(o.ctx, machines.Disk(img.Annotations[noteDisk]))
}
