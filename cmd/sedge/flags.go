package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sedge-proxy/sedge/config"
)

// nodeFlags are the flags that override the configuration file.
type nodeFlags struct {
	file        string
	listen      string
	tlsListen   string
	adminListen string
	dataDir     string
}

func (f *nodeFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.file, "config", "c", "", "configuration file (default $SEDGE_CONFIG, ./sedge.yaml, /etc/sedge/sedge.yaml)")
	f.registerOverrides(cmd)
}

func (f *nodeFlags) registerOverrides(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.listen, "listen", "", "address of the site's listener (server.listen)")
	cmd.Flags().StringVar(&f.tlsListen, "tls-listen", "", "address of the site's encrypted listener (server.tls.listen)")
	cmd.Flags().StringVar(&f.adminListen, "admin-listen", "", "address of the admin listener (admin.listen)")
	cmd.Flags().StringVar(&f.dataDir, "data-dir", "", "directory for profiles, events and keys (server.data_dir)")
}

// overrides are the settings that the flags name, by their path in the file.
func (f *nodeFlags) overrides() map[string]string {
	set := map[string]string{}
	for path, value := range map[string]string{
		"server.listen":     f.listen,
		"server.tls.listen": f.tlsListen,
		"admin.listen":      f.adminListen,
		"server.data_dir":   f.dataDir,
	} {
		if value != "" {
			set[path] = value
		}
	}
	return set
}

// errNoConfig says that no configuration file was named or found.
var errNoConfig = errors.New("no configuration: name one with -c FILE, or make one with \"sedge init --upstream URL > sedge.yaml\"")

// path returns the configuration file to read.
func (f *nodeFlags) path() (string, error) {
	if f.file != "" {
		return f.file, nil
	}
	if file := os.Getenv("SEDGE_CONFIG"); file != "" {
		return file, nil
	}
	for _, file := range []string{"sedge.yaml", "/etc/sedge/sedge.yaml"} {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			return file, nil
		}
	}
	return "", errNoConfig
}

func (f *nodeFlags) load() (*config.Config, error) {
	path, err := f.path()
	if err != nil {
		return nil, err
	}
	return loadConfig(path, f.overrides())
}

func loadConfig(path string, overrides map[string]string) (*config.Config, error) {
	return config.Load(path, config.Options{Overrides: overrides, Builtins: sortedKeys(builtinPlugins())})
}

// logFlags choose how a node logs.
type logFlags struct {
	level, format string
}

func (f *logFlags) register(cmd *cobra.Command, level, format string) {
	cmd.Flags().StringVar(&f.level, "log-level", level, "debug, info, warn or error")
	cmd.Flags().StringVar(&f.format, "log-format", format, "json or text")
}

// nodeLogs are where a node logs to.
type nodeLogs struct {
	*slog.Logger
	access *slog.Logger
	queue  *logQueue // of both
}

// open makes the logs that write to w until they are closed.
func (f *logFlags) open(w io.Writer) (*nodeLogs, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: expected debug, info, warn or error", f.level)
	}
	options := &slog.HandlerOptions{Level: level}
	handler := func(w io.Writer) slog.Handler { return newLineHandler(w, options) }
	switch strings.ToLower(f.format) {
	case "json":
	case "text":
		handler = func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, options) }
	default:
		return nil, fmt.Errorf("--log-format %q: expected json or text", f.format)
	}
	queue := newLogQueue(w)
	return &nodeLogs{Logger: slog.New(handler(queue)), access: slog.New(handler(queue.accessLines())), queue: queue}, nil
}

func (l *nodeLogs) close() { l.queue.close() }

// demoDataDir is where the demo keeps its data unless told otherwise: a place of
// the user's own, so that "sedge report" finds it from anywhere.
func demoDataDir() string {
	base, err := os.UserCacheDir()
	if err != nil {
		base = filepath.Join(os.TempDir(), fmt.Sprintf("sedge-%d", os.Getuid()))
	}
	return filepath.Join(base, "sedge", "demo")
}

// adminFlags find a running node.
type adminFlags struct {
	nodeFlags
	admin string
}

func (f *adminFlags) register(cmd *cobra.Command) { f.registerOn(cmd.Flags()) }

// registerOn registers the flags in a set, which sub-commands may have too.
func (f *adminFlags) registerOn(flags *pflag.FlagSet) {
	flags.StringVarP(&f.file, "config", "c", "", "configuration file of the node (default $SEDGE_CONFIG, ./sedge.yaml, /etc/sedge/sedge.yaml, else the demo)")
	flags.StringVar(&f.admin, "admin", "", "address of the node's admin listener, as in http://127.0.0.1:8090")
	flags.StringVar(&f.dataDir, "data-dir", "", "data directory of the node, which holds the admin token")
}

// locate returns the admin address and the data directory of the node. Where no
// configuration is named or found, that is the demo's.
func (f *adminFlags) locate() (base, dataDir string, err error) {
	address, dataDir := "127.0.0.1:8090", demoDataDir()
	if path, err := f.path(); err == nil && (f.admin == "" || f.dataDir == "") {
		cfg, err := loadConfig(path, f.overrides())
		if cfg == nil { // one with faults still says where the node is that runs with an older state of it
			return "", "", err
		}
		if err != nil && (cfg.Faulty("admin.listen") || cfg.Faulty("server.data_dir")) {
			return "", "", err
		}
		address, dataDir = cfg.Admin.Listen, cfg.Server.DataDir
	}
	if f.admin != "" {
		address = f.admin
	}
	if f.dataDir != "" {
		dataDir = f.dataDir
	}
	return baseURL(address), dataDir, nil
}

// baseURL turns a listen address or URL into the URL to call.
func baseURL(address string) string {
	if strings.Contains(address, "://") {
		return strings.TrimRight(address, "/")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "http://" + address
	}
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	return "http://" + net.JoinHostPort(host, port)
}
