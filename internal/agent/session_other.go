//go:build !darwin

package agent

import (
	"context"
	"os"
)

func session(context.Context) string {
	if os.Getenv("SSH_CONNECTION") != "" {
		return "ssh"
	}
	return "console"
}
