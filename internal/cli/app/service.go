package app

import "log/slog"

// ServiceLog returns the log of a command that runs until it is stopped: what
// happens, with --verbose details too, with --quiet only what is wrong. Under
// --output json each line is an object.
func (a *App) ServiceLog() *slog.Logger {
	level := slog.LevelInfo
	switch {
	case a.Flags.Quiet:
		level = slog.LevelWarn
	case a.Flags.Verbose > 0:
		level = slog.LevelDebug
	}
	o := &slog.HandlerOptions{Level: level}
	if a.JSON() {
		return slog.New(slog.NewJSONHandler(a.IO.Err, o))
	}
	return slog.New(slog.NewTextHandler(a.IO.Err, o))
}
