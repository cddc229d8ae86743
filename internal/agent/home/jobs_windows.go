package home

import (
	"context"

	"outrigger.dev/outrigger/internal/agent/disk"
)

// Windows has scheduled tasks instead, which are not looked after.

func crontab(context.Context) []byte { return nil }

func restoreCrontab(context.Context, []byte) []disk.Left { return nil }

func atJobs(context.Context) []string { return nil }

func removeJobs(context.Context, []string) []disk.Left { return nil }

func (Home) temporary() []string { return nil }

func tasks() []string { return nil }

func segments() []string { return nil }

func removeSegments([]string) []disk.Left { return nil }

func endTasks(context.Context, []string) []disk.Left { return nil }
