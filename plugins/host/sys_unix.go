//go:build unix && !linux

package host

import "syscall"

// attributes puts the process into a group of its own, out of reach of signals for ours.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills the process and whatever it started.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
