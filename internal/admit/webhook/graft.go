package webhook

import "reflect"

// graft returns what in the place of from was to become of it: values that do not differ
// between from and to are left as they are there, down to the smallest part.
func graft(there, from, to any) any {
	if reflect.DeepEqual(from, to) {
		return there
	}
	switch to := to.(type) {
	case map[string]any:
		there, ok := there.(map[string]any)
		from, was := from.(map[string]any)
		if !ok || !was {
			return to
		}
		return graftMap(there, from, to)
	case []any:
		there, ok := there.([]any)
		from, was := from.([]any)
		if !ok || !was || len(there) != len(from) {
			return to
		}
		return graftList(there, from, to)
	}
	return to
}

func graftMap(there, from, to map[string]any) map[string]any {
	out := map[string]any{}
	for key, value := range there {
		_, stays := to[key]
		_, was := from[key]
		if stays || !was {
			out[key] = value
		}
	}
	for key, value := range to {
		old, was := from[key]
		now, is := there[key]
		switch {
		case was && is:
			out[key] = graft(now, old, value)
		case !was || !reflect.DeepEqual(old, value):
			out[key] = value
		}
	}
	return out
}

// graftList finds each element's former self: at its place, or, where something before it
// was taken out, by being equal. Elements keep their order, so each is looked for behind
// the one before, and words have nothing in them that could be lost.
func graftList(there, from, to []any) []any {
	out := make([]any, len(to))
	next := 0
	for i, value := range to {
		out[i] = value
		if i < len(from) && sameElement(from[i], value, len(from) == len(to)) {
			out[i] = graft(there[i], from[i], value)
			next = i + 1
			continue
		}
		for j := next; isObject(value) && j < len(from); j++ {
			if reflect.DeepEqual(from[j], value) {
				out[i] = there[j]
				next = j + 1
				break
			}
		}
	}
	return out
}

// sameElement tells whether an element is the one that was at its place: it has
// the name, or there are no names and as many as before.
func sameElement(from, to any, asMany bool) bool {
	a, ok := from.(map[string]any)
	b, too := to.(map[string]any)
	if !ok || !too {
		return false
	}
	if a["name"] == nil && b["name"] == nil {
		return asMany
	}
	return reflect.DeepEqual(a["name"], b["name"])
}

func isObject(v any) bool {
	_, ok := v.(map[string]any)
	return ok
}
