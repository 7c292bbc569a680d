package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/sedge-proxy/sedge/plugins"
	"github.com/sedge-proxy/sedge/plugins/internal/wire"
)

// stopGrace is how long a process may take to end when asked to.
const stopGrace = 2 * time.Second

// session is one running incarnation of a plugin.
type session struct {
	plugin  plugins.Plugin
	started time.Time

	// Of a process only.
	client *goplugin.Client
	conn   *grpc.ClientConn
	prog   *program
}

// launcher starts processes of one plugin.
type launcher struct {
	cfg     Config
	command []string
	env     []string
	dir     string // where sockets go
	thread  *thread
	logger  *slog.Logger
	now     func() time.Time
}

// start starts a process and shakes hands with it, within cfg.StartTimeout. A
// go-plugin client serves one start only: it cannot be started again.
func (l *launcher) start(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.StartTimeout)
	defer cancel()
	s := &session{started: l.now()}
	s.prog = newProgram(l.command, l.env, l.thread, &output{logger: l.logger, now: l.now})
	s.client = l.newClient(s.prog)
	result := make(chan error, 1)
	go func() { result <- l.shakeHands(ctx, s) }()
	var err error
	select {
	case err = <-result:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err == nil {
		return s, nil
	}
	message := l.explain(s.prog, err)
	s.stop(0)
	return nil, message
}

func (l *launcher) newClient(prog *program) *goplugin.Client {
	chat := hclog.NewNullLogger()
	if l.logger.Enabled(context.Background(), slog.LevelDebug) {
		chat = hclog.New(&hclog.LoggerOptions{Output: chatter{l.logger}, Level: hclog.Debug, DisableTime: true})
	}
	out := func(stream string) io.Writer { return &lineWriter{out: prog.out, stream: stream} }
	return goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  wire.Handshake(),
		Plugins:          wire.Set(nil, nil),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, _ string) (runner.Runner, error) {
			prog.env = append(prog.env[:len(prog.env):len(prog.env)], spec.Env...)
			return prog, nil
		},
		StartTimeout:     l.cfg.StartTimeout,
		SyncStdout:       out("stdout"),
		SyncStderr:       out("stderr"),
		Logger:           chat,
		AutoMTLS:         l.cfg.TLS != "off",
		SkipHostEnv:      true,
		GRPCDialOptions:  wire.DialOptions(),
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: l.dir},
	})
}

// shakeHands brings the connection up. go-plugin panics over some malformed handshakes.
func (l *launcher) shakeHands(ctx context.Context, s *session) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("handshake: %v", value)
		}
	}()
	if _, err := s.client.Start(); err != nil {
		return err
	}
	protocol, err := s.client.Client()
	if err != nil {
		return err
	}
	raw, err := protocol.Dispense(wire.Name)
	if err != nil {
		return err
	}
	conn := raw.(*grpc.ClientConn)
	p, err := wire.Connect(ctx, conn)
	if err != nil {
		return err
	}
	s.conn, s.plugin = conn, p
	return nil
}

// explain says what went wrong at a start, and what to do.
func (l *launcher) explain(prog *program, err error) error {
	program := l.command[0]
	first := prog.handshake()
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("program %q was not found: check the path in command (a relative one starts at the working directory)", program)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("program %q may not be executed: check its rights (chmod +x)", program)
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("program %q does not run here: build it for %s/%s, or give a script its first line (#!)", program, runtime.GOOS, runtime.GOARCH)
	}
	if died := l.diedEarly(prog, err); died != nil {
		return died
	}
	switch {
	case first != "" && !strings.HasPrefix(first, "1|"):
		return fmt.Errorf("program %q answered %q where the handshake was expected: is this a Sedge plugin? Serve it with plugins/sdk", program, clip(first))
	case errors.Is(err, wire.ErrForeign), strings.Contains(err.Error(), "incompatible"), strings.Contains(err.Error(), "unsupported plugin protocol"):
		return fmt.Errorf("program %q speaks another protocol (%v): is this a Sedge plugin of this version? Build it with the current plugins/sdk", program, err)
	case errors.Is(err, context.DeadlineExceeded), strings.Contains(err.Error(), "timeout while waiting"):
		return fmt.Errorf("program %q was not ready within %s: is this a Sedge plugin? Serve it with plugins/sdk, or raise start_timeout", program, l.cfg.StartTimeout)
	case l.cfg.TLS != "off" && strings.Count(first, "|") < 5:
		return fmt.Errorf("program %q did not answer with a certificate (%v): set tls to off if its language cannot", program, err)
	}
	return fmt.Errorf("start program %q: %w", program, err)
}

// diedEarly reports a process that ended before the handshake, with its last words.
func (l *launcher) diedEarly(prog *program, err error) error {
	if prog.number() == 0 || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	select {
	case <-prog.exited:
	case <-time.After(100 * time.Millisecond): // it may be about to
		return nil
	}
	if first := prog.handshake(); prog.wasKilled() || first != "" && !strings.HasPrefix(first, "1|") {
		return nil // the error, or what it said, says more
	}
	select {
	case <-prog.drained:
	case <-time.After(drainAfter):
	}
	last := prog.out.last()
	if len(last) == 0 {
		return fmt.Errorf("program %q ended at its start (%s) without a word: is this a Sedge plugin? Serve it with plugins/sdk", l.command[0], prog.death())
	}
	return fmt.Errorf("program %q ended at its start (%s); its last lines were:\n  %s",
		l.command[0], prog.death(), strings.Join(last, "\n  "))
}

func clip(s string) string {
	if len(s) > 120 {
		s = s[:120] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// stop ends the process: it is asked to, and killed after grace. go-plugin's own
// Kill may wait for ever for a process that hangs, so it runs aside.
func (s *session) stop(grace time.Duration) {
	if s.client == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		s.client.Kill()
	}()
	select {
	case <-done:
	case <-s.prog.exited:
	case <-time.After(grace):
	}
	s.prog.kill()
	select {
	case <-done:
	case <-time.After(stopGrace):
	}
}

// watch returns when the connection broke although the process lives, or at the end of ctx.
func (s *session) watch(ctx context.Context) {
	for {
		state := s.conn.GetState()
		if state == connectivity.TransientFailure || state == connectivity.Shutdown {
			return
		}
		if !s.conn.WaitForStateChange(ctx, state) {
			return
		}
	}
}

// healthy asks the process, not the author's code, whether it is well.
func (s *session) healthy(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := grpc_health_v1.NewHealthClient(s.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: goplugin.GRPCServiceName})
	return err == nil
}
