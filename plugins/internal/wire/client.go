package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sedge-proxy/sedge/plugins"
)

// What a caller of a remote plugin tells apart.
var (
	// ErrUnavailable means that the process is gone or does not answer.
	ErrUnavailable = errors.New("plugin process is not reachable")
	// ErrNoInstance means that the process does not know the instance any more.
	ErrNoInstance = errors.New("plugin process does not know the instance")
	// ErrInvalid means that the plugin's answer breaks the contract.
	ErrInvalid = errors.New("plugin gave an invalid answer")
	// ErrPanic means that the plugin's code panicked.
	ErrPanic = errors.New("plugin panicked")
	// ErrForeign means that the process does not serve Sedge's protocol.
	ErrForeign = errors.New("process does not serve the Sedge plugin protocol")
)

// releaseTimeout bounds how long the end of an instance waits for its process.
const releaseTimeout = time.Second

// Client is a plugin in another process.
type Client struct {
	rpc         PluginClient
	description plugins.Description
}

var _ plugins.Plugin = (*Client)(nil)

// Connect asks the plugin at the other end what it is.
func Connect(ctx context.Context, conn grpc.ClientConnInterface) (*Client, error) {
	c := &Client{rpc: NewPluginClient(conn)}
	d, err := c.rpc.Describe(ctx, &DescribeRequest{})
	if err != nil {
		return nil, callError(ctx, err)
	}
	c.description = describeFromWire(d)
	return c, CheckDescription(c.description)
}

// Describe implements [plugins.Plugin].
func (c *Client) Describe() plugins.Description { return c.description }

// Configure implements [plugins.Plugin].
func (c *Client) Configure(ctx context.Context, settings json.RawMessage) (*plugins.Instance, error) {
	if len(settings) > MaxSettings {
		return nil, &plugins.SettingError{Message: fmt.Sprintf("settings have %d bytes, at most %d are allowed", len(settings), MaxSettings)}
	}
	out, err := c.rpc.Configure(ctx, &ConfigureRequest{Settings: settings})
	if err != nil {
		return nil, callError(ctx, err)
	}
	if len(out.GetErrors()) > 0 {
		return nil, errorsFromWire(out.GetErrors())
	}
	id := out.GetInstance()
	instance := &plugins.Instance{
		Scope: scopeFromWire(out.GetScope()),
		Plan: func(ctx context.Context, r *plugins.Request) (*plugins.Answer, error) {
			return c.plan(ctx, id, r)
		},
		Close: func() { c.release(id) },
	}
	return instance, CheckInstance(instance)
}

func (c *Client) plan(ctx context.Context, id uint64, r *plugins.Request) (*plugins.Answer, error) {
	out, err := c.rpc.Plan(ctx, requestToWire(id, r))
	if err != nil {
		return nil, callError(ctx, err)
	}
	answer := answerFromWire(out)
	if err := CheckAnswer(answer); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return answer, nil
}

// release tells the process; one that cannot be told has nothing to forget for long.
func (c *Client) release(id uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	_, _ = c.rpc.Release(ctx, &ReleaseRequest{Instance: id})
}

// callError says in our words what became of a call.
func callError(ctx context.Context, err error) error {
	s := status.Convert(err)
	message := clip(s.Message(), MaxErrorBytes)
	switch s.Code() {
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case codes.Canceled:
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %s", ErrUnavailable, message)
	case codes.Unavailable:
		return fmt.Errorf("%w: %s", ErrUnavailable, message)
	case codes.Unimplemented:
		return fmt.Errorf("%w: %s", ErrForeign, message)
	case codes.NotFound:
		return ErrNoInstance
	case codes.OutOfRange:
		return fmt.Errorf("%w: %s", ErrInvalid, message)
	case codes.Internal:
		return fmt.Errorf("%w: %s", ErrPanic, message)
	}
	return errors.New(message)
}
