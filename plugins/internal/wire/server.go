package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sedge-proxy/sedge/plugins"
)

const (
	maxInstances = 10_000 // instances that one process holds
	maxCalls     = 256    // Plan calls that one process runs at once
)

// Server answers the calls of a host with an author's plugin. A panic of author
// code is an error of that call.
type Server struct {
	UnimplementedPluginServer

	impl   plugins.Plugin
	logger *slog.Logger
	calls  chan struct{}

	mu        sync.Mutex
	next      uint64
	instances map[uint64]*served
}

// served is an instance with the number of calls that use it.
type served struct {
	*plugins.Instance
	users    int
	released bool
}

// NewServer serves impl. Panics of author code are logged with their stack.
func NewServer(impl plugins.Plugin, logger *slog.Logger) *Server {
	return &Server{
		impl: impl, logger: logger,
		calls:     make(chan struct{}, maxCalls),
		instances: make(map[uint64]*served),
	}
}

// guard turns a panic into an error.
func (s *Server) guard(method string, err *error) {
	if value := recover(); value != nil {
		s.logger.Error("plugin panicked", "method", method, "panic", fmt.Sprint(value), "stack", string(debug.Stack()))
		*err = status.Error(codes.Internal, panicError(value).Error())
	}
}

// Describe implements the service.
func (s *Server) Describe(context.Context, *DescribeRequest) (out *DescribeResponse, err error) {
	defer s.guard("Describe", &err)
	return describeToWire(s.impl.Describe()), nil
}

// Configure implements the service.
func (s *Server) Configure(ctx context.Context, in *ConfigureRequest) (out *ConfigureResponse, err error) {
	defer s.guard("Configure", &err)
	if len(in.GetSettings()) > MaxSettings {
		return nil, status.Errorf(codes.InvalidArgument, "settings have %d bytes, at most %d are allowed", len(in.GetSettings()), MaxSettings)
	}
	instance, cause := s.impl.Configure(ctx, in.GetSettings())
	if cause == nil {
		cause = CheckInstance(instance)
	}
	if cause != nil {
		return &ConfigureResponse{Errors: errorsToWire(cause)}, nil
	}
	id, err := s.keep(instance)
	if err != nil {
		return nil, err
	}
	return &ConfigureResponse{Instance: id, Scope: scopeToWire(instance.Scope)}, nil
}

// CheckInstance reports whether an instance can be used.
func CheckInstance(i *plugins.Instance) error {
	if i == nil || i.Plan == nil {
		return errors.New("Configure returned an instance without Plan")
	}
	return CheckScope(i.Scope)
}

func (s *Server) keep(instance *plugins.Instance) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.instances) >= maxInstances {
		return 0, status.Errorf(codes.ResourceExhausted, "%d instances are configured already", maxInstances)
	}
	s.next++
	s.instances[s.next] = &served{Instance: instance}
	return s.next, nil
}

// Plan implements the service.
func (s *Server) Plan(ctx context.Context, in *PlanRequest) (out *PlanResponse, err error) {
	select {
	case s.calls <- struct{}{}:
		defer func() { <-s.calls }()
	default:
		return nil, status.Errorf(codes.ResourceExhausted, "%d calls are running already", maxCalls)
	}
	instance := s.use(in.GetInstance())
	if instance == nil {
		return nil, status.Errorf(codes.NotFound, "instance %d is not known", in.GetInstance())
	}
	defer s.unuse(in.GetInstance(), instance)
	defer s.guard("Plan", &err)
	answer, err := instance.Plan(ctx, requestFromWire(in))
	if err != nil {
		return nil, planError(ctx, err)
	}
	if answer == nil {
		return &PlanResponse{}, nil
	}
	if err := CheckAnswer(answer); err != nil {
		return nil, status.Error(codes.OutOfRange, err.Error())
	}
	return answerToWire(answer), nil
}

func planError(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return status.FromContextError(ctx.Err()).Err()
	}
	return status.Error(codes.Unknown, clip(err.Error(), MaxErrorBytes))
}

func (s *Server) use(id uint64) *served {
	s.mu.Lock()
	defer s.mu.Unlock()
	instance := s.instances[id]
	if instance == nil || instance.released {
		return nil
	}
	instance.users++
	return instance
}

func (s *Server) unuse(id uint64, instance *served) {
	s.mu.Lock()
	instance.users--
	last := instance.released && instance.users == 0
	s.mu.Unlock()
	if last {
		s.drop(id, instance)
	}
}

// Release implements the service. The instance is closed when its last call ends.
func (s *Server) Release(_ context.Context, in *ReleaseRequest) (*ReleaseResponse, error) {
	s.mu.Lock()
	instance := s.instances[in.GetInstance()]
	last := instance != nil && !instance.released && instance.users == 0
	if instance != nil {
		instance.released = true
	}
	s.mu.Unlock()
	if last {
		s.drop(in.GetInstance(), instance)
	}
	return &ReleaseResponse{}, nil
}

func (s *Server) drop(id uint64, instance *served) {
	s.mu.Lock()
	delete(s.instances, id)
	s.mu.Unlock()
	var err error
	defer s.guard("Close", &err)
	if instance.Close != nil {
		instance.Close()
	}
}
