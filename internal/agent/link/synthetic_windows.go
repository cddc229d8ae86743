package link

// synthetic is empty: only macOS has such entries.
func synthetic() (map[string]string, error) { return nil, nil }
