package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestKilledProcessComesBack(t *testing.T) {
	h, _ := newHost(t)
	reconcile(t, h, Config{Name: "p", Builtin: "fixture"})
	handle := configure(t, h, "p", `{"text": "hi"}`)
	for range 3 {
		before := h.Status()[0]
		if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		died := time.Now()
		eventually(t, "the death is seen", func() bool { return h.Status()[0].PID != before.PID })
		if seen := time.Since(died); seen > time.Second {
			t.Errorf("the death was seen after %s", seen)
		}
		eventually(t, "the plugin answers again", func() bool {
			a, err := plan(handle)
			return err == nil && strings.HasPrefix(a.Edits[0].Text, "hi/vip/de/")
		})
		t.Logf("answered again after %s", time.Since(died))
		if after := h.Status()[0]; after.Restarts != before.Restarts+1 || !strings.Contains(after.LastDeath, "killed") {
			t.Errorf("status is %+v", after)
		}
	}
}

func TestKilledUnderLoad(t *testing.T) {
	h, _ := newHost(t)
	reconcile(t, h, Config{Name: "p", Builtin: "fixture", Timeout: 500 * time.Millisecond})
	handle := configure(t, h, "p", `{}`)
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				began := time.Now()
				_, err := plan(handle)
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("a call took %s (%v)", took, err)
				}
			}
		})
	}
	for range 3 {
		pid := h.Status()[0].PID
		if pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		eventually(t, "another process", func() bool { now := h.Status()[0].PID; return now != 0 && now != pid })
	}
	close(stop)
	wait.Wait()
	eventually(t, "answers", func() bool { _, err := plan(handle); return err == nil })
}

func TestStoppedProcessIsReplaced(t *testing.T) {
	h, _ := newHost(t)
	reconcile(t, h, Config{Name: "p", Builtin: "fixture", Timeout: 50 * time.Millisecond, BreakerFailures: 2, BreakerPause: 20 * time.Millisecond})
	handle := configure(t, h, "p", `{}`)
	pid := h.Status()[0].PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another process", func() bool {
		_, _ = plan(handle)
		now := h.Status()[0].PID
		return now != 0 && now != pid
	})
	eventually(t, "answers", func() bool { _, err := plan(handle); return err == nil })
}

func TestNoOrphans(t *testing.T) {
	t.Run("after Close", func(t *testing.T) {
		h, _ := newHost(t)
		reconcile(t, h, Config{Name: "p", Builtin: "fixture"}, Config{Name: "stuck", Builtin: "fixture", Env: []string{"A=b"}})
		var pids []int
		for _, s := range h.Status() {
			pids = append(pids, s.PID)
		}
		if err := syscall.Kill(pids[1], syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		handle := configure(t, h, "p", `{}`)
		sockets := h.sockets
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		began := time.Now()
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("took %s", took)
		}
		for _, pid := range pids {
			eventually(t, "the process ends", func() bool { return gone(pid) })
		}
		if _, err := os.Stat(sockets); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the sockets' directory is left: %v", err)
		}
		if _, err := plan(handle); err == nil {
			t.Error("a handle of a closed host answers")
		}
	})
	t.Run("after the host is killed", func(t *testing.T) {
		dir, err := os.MkdirTemp("/tmp", "sedge-nested-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		command := append(selfCommand("nested-host"), dir)
		cmd := exec.Command(command[0], command[1:]...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		eventually(t, "the plugin ends", func() bool { return gone(pid) || zombie(pid) })
	})
}

// zombie reports whether the process is dead and only waits for its new parent to
// notice, which in a container may never happen.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z")
}

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestEnvironmentIsBare(t *testing.T) {
	t.Setenv("SEDGE_SECRET", "hunter2")
	t.Setenv("PASSED", "on")
	h, _ := newHost(t)
	reconcile(t, h, Config{Name: "p", Builtin: "fixture", Env: []string{"PASSED", "SET=here", "NOT_SET_HERE"}})
	a, err := plan(configure(t, h, "p", `{"do": "environment"}`))
	if err != nil {
		t.Fatal(err)
	}
	env := "\n" + a.Edits[0].Text
	if strings.Contains(env, "hunter2") || strings.Contains(env, "NOT_SET_HERE") {
		t.Error("the plugin sees what it should not")
	}
	for _, want := range []string{"\nPASSED=on\n", "\nSET=here\n", "\nPATH="} {
		if !strings.Contains(env, want) {
			t.Errorf("the plugin does not see %q", want)
		}
	}
}

func TestStartedByHand(t *testing.T) {
	command := selfCommand("serve")
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("ended with %v", err)
	}
	for _, want := range []string{`Sedge plugin "fixture", version 1.2.3`, "plugins:", "command:"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("does not say %q:\n%s", want, out)
		}
	}
}
