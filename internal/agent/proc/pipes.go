package proc

import (
	"os"
	"os/exec"
)

// pipes makes the command's streams and returns its ends of them.
func (p *Process) pipes(cmd *exec.Cmd) (theirs []*os.File, err error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.Stdin, cmd.Stdin, theirs = inW, inR, append(theirs, inR)
	outR, outW, err := os.Pipe()
	if err != nil {
		return theirs, err
	}
	p.Stdout, cmd.Stdout, theirs = outR, outW, append(theirs, outW)
	errR, errW, err := os.Pipe()
	if err != nil {
		return theirs, err
	}
	p.Stderr, cmd.Stderr, theirs = errR, errW, append(theirs, errW)
	return theirs, nil
}
