package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Decode reads an object of the kind. A strict decoder refuses fields that the
// kind does not have; the other drops them, as a pruning schema does.
func (k *Kind) Decode(b []byte, strict bool) (*Object, error) {
	var raw struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
		Spec              json.RawMessage `json:"spec"`
		Status            json.RawMessage `json:"status"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, err
	}
	o := &Object{TypeMeta: raw.TypeMeta, ObjectMeta: raw.ObjectMeta}
	var err error
	if o.Spec, err = part(raw.Spec, k.NewSpec, strict); err != nil {
		return nil, err
	}
	// Clients send the status block that they got, and it does not count.
	if o.Status, err = part(raw.Status, k.NewStatus, false); err != nil {
		return nil, err
	}
	return o, nil
}

func part(b json.RawMessage, make func() any, strict bool) (any, error) {
	if make == nil {
		return nil, nil
	}
	v := make()
	if len(b) == 0 {
		return v, nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if strict {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(v); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return v, nil
}

func (k *Kind) copy(o *Object) (*Object, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	return k.Decode(b, false)
}

func equal(a, b *Object) (bool, error) {
	x, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	y, err := json.Marshal(b)
	return bytes.Equal(x, y), err
}
