package sshhost

import "outrigger.dev/outrigger/internal/machine"

// Config is a list of hosts that exist already.
type Config struct {
	Hosts []Host `yaml:"hosts"`
}

// A Host is one computer with room for Slots machines at a time.
type Host struct {
	Name   string            `yaml:"name"`
	Slots  int               `yaml:"slots"` // 0 means 1
	Root   string            `yaml:"root"`  // see [machine.Endpoint.Root]
	OS     string            `yaml:"os"`    // what people are shown; the agent finds out by itself
	Arch   string            `yaml:"arch"`
	Labels map[string]string `yaml:"labels"`
	Login  `yaml:",inline"`
	Jump   []Login `yaml:"jump"` // passed in order
}

// A Login says where a host is and how to log in. Without any key, agent or
// password the user's own are tried: the agent at SSH_AUTH_SOCK and the
// default key files in ~/.ssh. Without host keys and known hosts, the user's own
// known_hosts file counts.
type Login struct {
	Address    string   `yaml:"address"`
	Port       int      `yaml:"port"` // 0 means 22
	User       string   `yaml:"user"` // "": the name of the user here
	KeyFiles   []string `yaml:"keyFiles"`
	CertFiles  []string `yaml:"certFiles"`
	Agent      bool     `yaml:"agent"`
	HostKeys   []string `yaml:"hostKeys"` // "ssh-ed25519 AAAA…"
	KnownHosts []string `yaml:"knownHosts"`

	// At most one of these; package config reads it into Password.
	PasswordFile    string   `yaml:"passwordFile"`
	PasswordEnv     string   `yaml:"passwordEnv"`
	PasswordCommand []string `yaml:"passwordCommand"`

	Password machine.Secret `yaml:"-"`
}
