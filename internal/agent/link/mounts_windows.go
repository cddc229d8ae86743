package link

// mountPoints is empty: what is mounted in a folder is a junction, which no removal follows.
func mountPoints() ([]string, error) { return nil, nil }
