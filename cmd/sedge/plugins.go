package main

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sedge-proxy/sedge/plugins"
	"github.com/sedge-proxy/sedge/plugins/builtin/content"
	"github.com/sedge-proxy/sedge/plugins/builtin/offers"
	"github.com/sedge-proxy/sedge/plugins/host"
	"github.com/sedge-proxy/sedge/plugins/sdk"
)

const pluginProcess = "plugin-process"

// builtinPlugins are the plugins that travel in this binary, by name.
func builtinPlugins() map[string]plugins.Plugin {
	return map[string]plugins.Plugin{
		"content": content.New(),
		"offers":  offers.New(time.Now),
	}
}

func newPluginHost(sockets string, logger *slog.Logger) *host.Host {
	return host.New(host.Options{
		Logger:      logger,
		Builtins:    builtinPlugins(),
		SelfCommand: selfCommand,
		SocketDir:   sockets,
	})
}

// selfCommand starts this binary again as the process of a built-in plugin. Where
// the file was replaced on disk since, Linux still knows the one that runs.
func selfCommand(name string) []string {
	self, err := os.Executable()
	if err == nil {
		_, err = os.Stat(self)
	}
	if err != nil {
		self = "/proc/self/exe"
	}
	return []string{self, pluginProcess, name}
}

func (a *app) pluginProcessCommand() *cobra.Command {
	return &cobra.Command{
		Use:    pluginProcess + " NAME",
		Short:  "Serve a built-in plugin; Sedge starts this by itself",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, ok := builtinPlugins()[args[0]]
			if !ok {
				return fmt.Errorf("there is no built-in plugin %q", args[0])
			}
			sdk.Serve(p)
			return nil
		},
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
