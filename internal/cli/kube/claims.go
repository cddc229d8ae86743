package kube

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// CreateClaim makes a claim, or finds it made: a lost answer is no reason for a second one.
func (c *Client) CreateClaim(ctx context.Context, claim *v1alpha1.MachineClaim) (*v1alpha1.MachineClaim, error) {
	var made v1alpha1.MachineClaim
	err := c.rest.Post().Namespace(claim.Namespace).Resource("machineclaims").Body(claim).Do(ctx).Into(&made)
	if apierrors.IsAlreadyExists(err) {
		return c.Claim(ctx, claim.Namespace, claim.Name)
	}
	return &made, c.fault("make a claim in namespace "+claim.Namespace, err)
}

// Claim returns one claim; nil if there is none of that name.
func (c *Client) Claim(ctx context.Context, namespace, name string) (*v1alpha1.MachineClaim, error) {
	var claim v1alpha1.MachineClaim
	err := c.rest.Get().Namespace(namespace).Resource("machineclaims").Name(name).Do(ctx).Into(&claim)
	if apierrors.IsNotFound(err) && !noSuchAPI(err) {
		return nil, nil
	}
	return &claim, c.fault("claim "+namespace+"/"+name, err)
}

// DeleteClaim gives the claim's machine back. One that is gone is no error; uid,
// if not empty, names the only one that is meant.
func (c *Client) DeleteClaim(ctx context.Context, namespace, name string, uid types.UID) error {
	var options metav1.DeleteOptions
	if uid != "" {
		options.Preconditions = &metav1.Preconditions{UID: &uid}
	}
	err := c.rest.Delete().Namespace(namespace).Resource("machineclaims").Name(name).Body(&options).Do(ctx).Error()
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return c.fault("delete claim "+namespace+"/"+name, err)
}

// Secret returns the content of a Secret.
func (c *Client) Secret(ctx context.Context, namespace, name string) (map[string][]byte, error) {
	var s corev1.Secret
	err := c.read(ctx, "Secret "+namespace+"/"+name, &s, nil, append(core(namespace, "secrets"), name)...)
	return s.Data, err
}
