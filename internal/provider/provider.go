// Package provider is the seam between Outrigger and the places that have
// machines: this computer, a rack, a cloud.
//
// A [Provider] makes, finds, lists and deletes machines; what only some places
// can do is a small interface of its own ([ImageStore], [ImageBuilder],
// [ImageSaver], [Console], [Credential], [Reminded]), found with a type assertion through [As]. Package
// providertest is this comment, executable.
package provider

import (
	"context"
	"time"

	"outrigger.dev/outrigger/internal/machine"
)

// A Provider owns machines in one place.
//
// The caller picks each name and stores it before the call, so every call may
// be repeated after a crash.
type Provider interface {
	// Create makes the machine, or returns the one that it already is when a
	// machine of that name and owner exists. It returns once the provider has
	// taken responsibility and knows the endpoint; SSH need not answer yet.
	// Faults: NoCapacity, UnknownImage, NameTaken, ProviderRefused, ProviderDown.
	// After an error the machine may exist: the caller deletes it by name.
	Create(ctx context.Context, spec machine.Spec) (machine.Machine, error)
	// Get returns the machine, or a fault of kind UnknownMachine.
	Get(ctx context.Context, name machine.Name) (machine.Machine, error)
	// List returns the machines of owner; "" lists all that Outrigger made. Machines that are returned with an error
	// are there; that one is missing then says nothing, but see [PartialError].
	List(ctx context.Context, owner machine.Owner) ([]machine.Machine, error)
	// Delete ends the machine and all that belongs to it. An unknown name is no error.
	Delete(ctx context.Context, name machine.Name) error
}

// A PartialError is the error of a List that could look at some places and not at others. A machine that was not
// returned is unknown if it is at one of Unseen, else it is not there.
type PartialError struct {
	Unseen []machine.Endpoint
	Err    error
}

// Error returns the text of the cause.
func (e *PartialError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *PartialError) Unwrap() error { return e.Err }

// An Image is what machines are made from.
type Image struct {
	Name     string           `json:"name"`
	Provider string           `json:"provider"`
	Base     string           `json:"base,omitempty"` // the image it was made from
	Platform machine.Platform `json:"platform"`
	Bytes    int64            `json:"bytes"` // on disk
	Created  time.Time        `json:"created"`
	State    ImageState       `json:"state,omitempty"`
}

// An ImageState says whether machines can be made from an image; "": they can.
type ImageState string

// The states of an image from which none can be made.
const (
	ImageSaving ImageState = "Saving" // it is being written
	ImageFailed ImageState = "Failed" // that did not work; it can only be deleted
)

// An ImageStore lists and deletes images.
type ImageStore interface {
	Images(ctx context.Context) ([]Image, error)
	// DeleteImage: an unknown name is a fault of kind UnknownImage; one that
	// machines or images stand on is a fault of kind Busy.
	DeleteImage(ctx context.Context, name string) error
}

// An ImageSaver makes an image from a running machine, as docker commit does.
// The machine keeps running.
type ImageSaver interface {
	SaveImage(ctx context.Context, name machine.Name, image string) (Image, error)
}

// An ImageCommitter writes a running machine over the image that it was made from.
type ImageCommitter interface {
	CommitImage(ctx context.Context, name machine.Name) (Image, error)
}

// An ImagePusher puts a running machine's disk into a registry, from where machines are
// made by the reference.
type ImagePusher interface {
	PushImage(ctx context.Context, name machine.Name, reference string) error
}

// An ImageCacher has hosts fetch an image before a machine of it is wanted there.
type ImageCacher interface {
	// CacheImage works on the nodes named, or on all for none. It reports each as it is
	// done; progress may be nil, and is called by several at once.
	CacheImage(ctx context.Context, image string, nodes []string, progress func(node string, err error)) error
}

// An ImageUncacher has hosts forget an image that they have fetched.
type ImageUncacher interface {
	// UncacheImage works on the nodes named, or on all for none. It returns when the place
	// has taken it on.
	UncacheImage(ctx context.Context, image string, nodes []string) error
}

// An ImagePuller copies an image from a catalogue elsewhere into the place's own storage.
type ImagePuller interface {
	// PullImage: a remote that the catalogue does not have is a fault of kind UnknownImage, an
	// image that is there already one of kind NameTaken.
	PullImage(ctx context.Context, remote, image string) (Image, error)
}

// A BuildSpec asks for a base image.
type BuildSpec struct {
	Name     string
	Packages []string                                  // further packages to install
	Progress func(stage string, elapsed time.Duration) // may be nil
}

// An ImageBuilder makes a base image from what the place can get.
type ImageBuilder interface {
	BuildImage(ctx context.Context, spec BuildSpec) (Image, error)
}

// A Console shows what a machine printed while it started.
type Console interface {
	// ConsoleTail returns at most the last max bytes.
	ConsoleTail(ctx context.Context, name machine.Name, max int) (string, error)
}

// A Credential is a provider whose access ends some day.
type Credential interface {
	// TokenExpires is when the token in use ends; false: it does not say.
	TokenExpires() (time.Time, bool)
}

// A Reminded provider keeps no memory of its own and is told what its caller has written
// down: where a machine is. It then need not ask elsewhere, where perhaps nobody answers.
type Reminded interface {
	Remind(name machine.Name, at machine.Endpoint)
}

// As finds the optional interface T in p or in what p wraps.
func As[T any](p Provider) (T, bool) {
	for {
		if t, ok := p.(T); ok {
			return t, true
		}
		w, ok := p.(interface{ Unwrap() Provider })
		if !ok {
			var zero T
			return zero, false
		}
		p = w.Unwrap()
	}
}
