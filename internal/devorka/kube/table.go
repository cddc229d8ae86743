package kube

import (
	"encoding/json"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"

	"outrigger.dev/outrigger/internal/devorka/store"
)

// wantsTable tells whether the client would rather have a table, as kubectl get does.
func (c *call) wantsTable() bool {
	accept := c.r.Header.Get("Accept")
	return strings.Contains(accept, "as=Table") && strings.Contains(accept, "v=v1;") || strings.HasPrefix(accept, "application/json;as=Table;v=v1;")
}

// table is what kubectl prints of objects.
func table(k *store.Kind, all []*store.Object, version string) (*metav1.Table, error) {
	t := &metav1.Table{
		TypeMeta: metav1.TypeMeta{Kind: "Table", APIVersion: "meta.k8s.io/v1"}, ListMeta: metav1.ListMeta{ResourceVersion: version},
		ColumnDefinitions: []metav1.TableColumnDefinition{{Name: "Name", Type: "string", Format: "name"}},
		Rows:              []metav1.TableRow{},
	}
	for _, c := range k.Columns {
		d := metav1.TableColumnDefinition{Name: c.Name, Type: c.Type}
		if c.Wide {
			d.Priority = 1
		}
		t.ColumnDefinitions = append(t.ColumnDefinitions, d)
	}
	aged := k.Group == "" || len(k.Columns) == 0
	if aged {
		t.ColumnDefinitions = append(t.ColumnDefinitions, metav1.TableColumnDefinition{Name: "Age", Type: "date"})
	}
	for _, o := range all {
		b, err := json.Marshal(o)
		if err != nil {
			return nil, err
		}
		var tree map[string]any
		if err := json.Unmarshal(b, &tree); err != nil {
			return nil, err
		}
		cells := []any{o.Name}
		for _, c := range k.Columns {
			v, err := cell(find(tree, c.Path), c.Type)
			if err != nil {
				return nil, err
			}
			cells = append(cells, v)
		}
		if aged {
			cells = append(cells, duration.HumanDuration(time.Since(o.CreationTimestamp.Time)))
		}
		head, err := json.Marshal(metav1.PartialObjectMetadata{
			TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: "meta.k8s.io/v1"}, ObjectMeta: o.ObjectMeta,
		})
		if err != nil {
			return nil, err
		}
		t.Rows = append(t.Rows, metav1.TableRow{Cells: cells, Object: runtime.RawExtension{Raw: head}})
	}
	return t, nil
}

// cell is a value as a column of that type shows it: what is no text is JSON there.
func cell(v any, kind string) (any, error) {
	_, text := v.(string)
	if v == nil || text || kind != "string" {
		return v, nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

func find(tree map[string]any, path string) any {
	path, key, _ := strings.Cut(strings.TrimSuffix(path, "']"), "['")
	parts := strings.Split(path, ".")
	if key != "" {
		parts = append(parts, key)
	}
	var v any = tree
	for _, p := range parts {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}
