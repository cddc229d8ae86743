package kube

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"outrigger.dev/outrigger/internal/devorka/access"
	"outrigger.dev/outrigger/internal/devorka/door"
)

// Limits of a TokenRequest, those of Kubernetes.
const (
	leastTokenLife   = 600
	defaultTokenLife = 3600
)

// protobufMark is what a body in protobuf begins with; kubectl sends its reviews so.
const protobufMark = "k8s\x00"

// readReview decodes a request of one of Kubernetes' own types.
func (c *call) readReview(v interface{ Unmarshal([]byte) error }) error {
	b, err := door.Body(c.w, c.r)
	if err != nil || len(b) == 0 {
		return err
	}
	return unpack(b, v)
}

// unpack decodes JSON or protobuf.
func unpack(b []byte, v interface{ Unmarshal([]byte) error }) (err error) {
	rest, ok := strings.CutPrefix(string(b), protobufMark)
	if !ok {
		err = json.Unmarshal(b, v)
	} else {
		var envelope runtime.Unknown
		if err = envelope.Unmarshal([]byte(rest)); err == nil {
			err = v.Unmarshal(envelope.Raw)
		}
	}
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	return nil
}

// issue answers a TokenRequest.
func (s *server) issue(c *call) error {
	var req authenticationv1.TokenRequest
	if err := c.readReview(&req); err != nil {
		return err
	}
	life := int64(defaultTokenLife)
	if req.Spec.ExpirationSeconds != nil {
		life = *req.Spec.ExpirationSeconds
	}
	if life < leastTokenLife {
		return apierrors.NewInvalid(schema.GroupKind{Group: "authentication.k8s.io", Kind: "TokenRequest"}, c.name, field.ErrorList{
			field.Invalid(field.NewPath("spec", "expirationSeconds"), life, "may not specify a duration less than 10 minutes"),
		})
	}
	text, claims, err := s.Access.Issue(c.namespace, c.name, time.Duration(life)*time.Second)
	if err != nil {
		return err
	}
	req.TypeMeta = metav1.TypeMeta{Kind: "TokenRequest", APIVersion: "authentication.k8s.io/v1"}
	req.Name, req.Namespace, req.CreationTimestamp = c.name, c.namespace, metav1.NewTime(time.Unix(claims.IssuedAt, 0).UTC())
	req.Spec.Audiences, req.Spec.ExpirationSeconds = claims.Audience, &life
	req.Status = authenticationv1.TokenRequestStatus{Token: text, ExpirationTimestamp: metav1.NewTime(time.Unix(claims.Expires, 0).UTC())}
	door.JSON(c.w, http.StatusCreated, req)
	return nil
}

// review answers what somebody asks about themselves: who am I, may I.
func (s *server) review(c *call) error {
	if c.r.Method != http.MethodPost {
		return apierrors.NewMethodNotSupported(c.kind.Resource(), c.verb())
	}
	switch c.kind.Plural {
	case "selfsubjectreviews":
		door.JSON(c.w, http.StatusCreated, authenticationv1.SelfSubjectReview{
			TypeMeta: metav1.TypeMeta{Kind: "SelfSubjectReview", APIVersion: "authentication.k8s.io/v1"},
			Status: authenticationv1.SelfSubjectReviewStatus{UserInfo: authenticationv1.UserInfo{
				Username: c.user.Name, UID: c.user.UID,
				Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + c.user.Namespace, "system:authenticated"},
			}},
		})
		return nil
	case "selfsubjectaccessreviews":
		var req authorizationv1.SelfSubjectAccessReview
		if err := c.readReview(&req); err != nil {
			return err
		}
		req.TypeMeta = metav1.TypeMeta{Kind: "SelfSubjectAccessReview", APIVersion: "authorization.k8s.io/v1"}
		if a := req.Spec.ResourceAttributes; a != nil {
			resource := a.Resource
			if a.Subresource != "" {
				resource += "/" + a.Subresource
			}
			req.Status.Allowed = s.Access.May(c.user, access.Request{Verb: a.Verb, Group: a.Group, Resource: resource, Namespace: a.Namespace, Name: a.Name})
		}
		door.JSON(c.w, http.StatusCreated, req)
		return nil
	}
	return missing()
}
