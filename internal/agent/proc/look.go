package proc

import "strings"

// Getenv returns the last value of key in env ("K=V"), as a program would see it.
func Getenv(env []string, key string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if k, v, ok := strings.Cut(env[i], "="); ok && sameKey(k, key) {
			return v
		}
	}
	return ""
}

// Setenv returns env with the variables of over put over it, each once.
func Setenv(env []string, over ...string) []string {
	merged := make([]string, 0, len(env)+len(over))
	place := make(map[string]int, len(env)+len(over))
	for _, kv := range append(env[:len(env):len(env)], over...) {
		k, _, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			if kv == "" || !ok {
				continue // not a variable
			}
			// Windows keeps each drive's folder in variables such as "=C:".
			merged = append(merged, kv)
			continue
		}
		k = foldKey(k)
		if i, there := place[k]; there {
			merged[i] = kv
			continue
		}
		place[k] = len(merged)
		merged = append(merged, kv)
	}
	return merged
}
