package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

const (
	maxHandshake = 16 << 10 // bytes of the first line of standard output
	lastMoment   = 50 * time.Millisecond
	drainAfter   = 500 * time.Millisecond // how long output is read after the process's death
)

// program runs one process for go-plugin. It stands between the two: go-plugin
// sees the first line of standard output, everything else goes to our log, and
// the death of the process is known at once, not when its last pipe closes.
type program struct {
	command []string
	env     []string
	thread  *thread
	out     *output

	cmd        *exec.Cmd
	pid        atomic.Int64
	firstLine  *io.PipeReader
	firstWrite *io.PipeWriter

	exited  chan struct{} // closed when the process is dead
	mute    chan struct{} // closed when standard output ended without a line
	drained chan struct{} // closed when its output is read

	mu     sync.Mutex
	first  string // the first line of standard output, for messages
	state  *os.ProcessState
	killed bool // by us
}

var _ runner.Runner = (*program)(nil)

func newProgram(command, env []string, t *thread, out *output) *program {
	p := &program{
		command: command, env: env, thread: t, out: out,
		exited: make(chan struct{}), mute: make(chan struct{}), drained: make(chan struct{}),
	}
	p.firstLine, p.firstWrite = io.Pipe()
	return p
}

// Start implements [runner.Runner].
func (p *program) Start(context.Context) error {
	p.cmd = exec.Command(p.command[0], p.command[1:]...)
	p.cmd.Env = p.env
	p.cmd.SysProcAttr = attributes()
	stdout, err := p.pipe(&p.cmd.Stdout)
	if err != nil {
		return p.unstarted(err)
	}
	stderr, err := p.pipe(&p.cmd.Stderr)
	if err != nil {
		_ = stdout.Close()
		return p.unstarted(err)
	}
	if !p.thread.do(func() { err = p.cmd.Start() }) {
		err = errHostClosed
	}
	_ = p.cmd.Stdout.(*os.File).Close()
	_ = p.cmd.Stderr.(*os.File).Close()
	if err != nil {
		_ = stdout.Close()
		_ = stderr.Close()
		return p.unstarted(err)
	}
	p.pid.Store(int64(p.cmd.Process.Pid))
	p.follow(stdout, stderr)
	return nil
}

// pipe gives the process the writing end and returns the reading end.
func (p *program) pipe(end *io.Writer) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	*end = w
	return r, nil
}

func (p *program) unstarted(err error) error {
	_ = p.firstWrite.Close()
	close(p.exited)
	close(p.drained)
	return err
}

// follow starts reading the output and waiting for the end.
func (p *program) follow(stdout, stderr *os.File) {
	var readers sync.WaitGroup
	readers.Go(func() { p.readStdout(stdout) })
	readers.Go(func() { p.out.read(stderr, "stderr") })
	go func() {
		readers.Wait()
		_ = stdout.Close()
		_ = stderr.Close()
		close(p.drained)
	}()
	go func() {
		_ = p.cmd.Wait()
		p.mu.Lock()
		p.state = p.cmd.ProcessState
		p.mu.Unlock()
		killGroup(p.number()) // what it started; its number is not given away again this quickly
		close(p.exited)
		deadline := time.Now().Add(drainAfter)
		_ = stdout.SetReadDeadline(deadline)
		_ = stderr.SetReadDeadline(deadline)
	}()
}

// readStdout hands the first line to go-plugin and the rest to the log.
func (p *program) readStdout(stdout *os.File) {
	lines := bufio.NewReaderSize(stdout, maxHandshake)
	line, err := lines.ReadSlice('\n')
	p.mu.Lock()
	p.first = strings.TrimSpace(string(line))
	p.mu.Unlock()
	if len(line) == 0 {
		close(p.mute)
	} else {
		_, _ = p.firstWrite.Write(append([]byte(strings.TrimSpace(string(line))), '\n'))
	}
	_ = p.firstWrite.Close()
	if err == nil || errors.Is(err, bufio.ErrBufferFull) {
		p.out.read(lines, "stdout")
	}
}

// handshake returns the first line of standard output.
func (p *program) handshake() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first
}

// death says how the process ended: "exit status 3", "signal: killed".
func (p *program) death() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == nil {
		return "gone"
	}
	return p.state.String()
}

// number is the process id; 0 before the start.
func (p *program) number() int { return int(p.pid.Load()) }

// Wait implements [runner.AttachedRunner].
func (p *program) Wait(context.Context) error {
	<-p.exited
	return nil
}

// Kill implements [runner.AttachedRunner]. A process that is about to end by itself
// gets the moment for it, so that its own state is reported.
func (p *program) Kill(context.Context) error {
	select {
	case <-p.mute:
		select {
		case <-p.exited:
		case <-time.After(lastMoment):
		}
	default:
	}
	p.kill()
	return nil
}

func (p *program) kill() {
	select {
	case <-p.exited:
	default:
		if p.number() > 0 {
			p.mu.Lock()
			p.killed = p.state == nil
			p.mu.Unlock()
			killGroup(p.number())
		}
	}
}

// wasKilled reports whether the process ended because we wanted it to.
func (p *program) wasKilled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed && (p.state == nil || !p.state.Exited())
}

// Stdout implements [runner.Runner]: the first line only.
func (p *program) Stdout() io.ReadCloser { return p.firstLine }

// Stderr implements [runner.Runner]: nothing, the lines are read here.
func (p *program) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements [runner.Runner].
func (p *program) Name() string { return p.command[0] }

// ID implements [runner.AttachedRunner]. It is never empty: go-plugin cleans up
// after programs with an id only.
func (p *program) ID() string { return fmt.Sprint(p.number()) }

// Diagnose implements [runner.Runner]; our own messages say more.
func (p *program) Diagnose(context.Context) string { return "" }

// PluginToHost implements [runner.AddrTranslator]. A plugin listens on this
// machine and nowhere else.
func (p *program) PluginToHost(network, address string) (string, string, error) {
	if network == "tcp" {
		host, _, err := net.SplitHostPort(address)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			return "", "", fmt.Errorf("the plugin listens on %q, expected a unix socket or a loopback address", address)
		}
	}
	return network, address, nil
}

// HostToPlugin implements [runner.AddrTranslator].
func (p *program) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
