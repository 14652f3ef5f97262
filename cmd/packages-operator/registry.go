// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"github.com/packages-operator/packages-operator/cmd/packages-operator/early"
	"github.com/packages-operator/packages-operator/registry"
	"github.com/packages-operator/packages-operator/registry/access"
	"github.com/packages-operator/packages-operator/registry/audit"
	"github.com/packages-operator/packages-operator/registry/blob/s3"
	"github.com/packages-operator/packages-operator/registry/clientaddr"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/policy/files"
	"github.com/packages-operator/packages-operator/registry/policy/watch"
	"github.com/packages-operator/packages-operator/registry/tracing"
)

// registryFlags are the flags of packages-operator registry.
type registryFlags struct {
	logOptions
	standalone  string
	namespace   string
	instance    string
	instanceUID string
	keysDir     string
	dataDir     string
	listen      string
	adminListen string
	trusted     []string
	url         string
	adopt       bool
	s3          s3.Options
	databaseURL string
	audit       string
	pprof       bool
	stdout      io.Writer
}

func newRegistryCommand() *cobra.Command {
	var flags registryFlags
	cmd := &cobra.Command{
		Use:   "registry",
		Short: "Serve docker push and docker pull",
		Long: `Serves one instance's Docker registry.

Alone, it reads a PackagesInstance, PackagesOrganizations, PackagesRepositories,
PackagesTokens and plain Secrets from YAML files, and follows their changes. In a cluster, where the
manager starts it, it follows the PackagesPolicy objects of its instance.`,
		Example: `  # Alone, on this machine.
  packages-operator registry --standalone config/samples/standalone \
    --data-dir run/data --listen 127.0.0.1:5000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			log, err := flags.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			flags.stdout = cmd.OutOrStdout()
			if flags.pprof {
				early.ProfileMemory()
			}
			if flags.standalone != "" {
				return runStandalone(cmd.Context(), flags, log)
			}
			return runInCluster(cmd.Context(), flags, log)
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.standalone, "standalone", "", "run alone, on the objects in the YAML files of this directory")
	f.StringVar(&flags.url, "url", "", "alone: the registry as clients reach it by its host name, where they ask for tokens (default https://HOST)")
	f.StringVar(&flags.namespace, "namespace", "", "in a cluster: the namespace of the instance")
	f.StringVar(&flags.instance, "instance", "", "in a cluster: the name of the instance")
	f.StringVar(&flags.instanceUID, "instance-uid", "", "in a cluster: the UID of the instance, which the data must belong to")
	f.StringVar(&flags.keysDir, "keys-dir", "", "the directory with the keys that sign bearer tokens; changes take effect within seconds (default when alone: keys in the data directory, where the first is made)")
	f.StringVar(&flags.dataDir, "data-dir", "", "the directory that holds all data; it is made if it is missing")
	f.StringVar(&flags.databaseURL, "database-url-file", "", "alone: a file with the URL of the PostgreSQL database that keeps the catalog (default: $"+databaseVariable+", or else a file in the data directory)")
	f.StringVar(&flags.listen, "listen", ":5000", "address of the Docker registry")
	f.StringVar(&flags.adminListen, "admin-listen", "", "address of /healthz, /readyz, /status and /metrics; none if empty")
	f.StringSliceVar(&flags.trusted, "trusted-proxies", nil, "addresses and networks of reverse proxies, such as 10.0.0.0/8, whose X-Forwarded-For header says which client a request comes from")
	f.StringVar(&flags.audit, "audit-log", "-", "where who does what is written as JSON lines: a file, which SIGHUP opens anew, - for standard output, or nowhere if empty")
	f.BoolVar(&flags.pprof, "pprof", false, "serve profiles of the process under /debug/pprof/ on the admin port")
	f.BoolVar(&flags.adopt, "adopt", false, "take over a data directory or a bucket that belongs to another instance")
	f.StringVar(&flags.s3.Bucket, "s3-bucket", "", "keep blobs in this bucket of S3-compatible storage rather than in the data directory; credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or from what else the AWS SDK finds")
	f.StringVar(&flags.s3.Endpoint, "s3-endpoint", "", "URL of the storage; AWS if empty")
	f.StringVar(&flags.s3.Region, "s3-region", "", "region of the bucket (default: AWS_REGION, or us-east-1 with --s3-endpoint)")
	f.StringVar(&flags.s3.Prefix, "s3-prefix", "", "what all keys in the bucket begin with, such as registries/one")
	f.BoolVar(&flags.s3.ForcePathStyle, "s3-force-path-style", false, "write the bucket into the path of URLs rather than into their host name")
	flags.addFlags(f)
	return cmd
}

// check refuses combinations of flags that would be without effect.
func (f *registryFlags) check() error {
	if f.dataDir == "" {
		return errors.New("--data-dir is required: the directory that holds all data")
	}
	inCluster := []struct{ flag, value string }{
		{"--namespace", f.namespace}, {"--instance", f.instance}, {"--instance-uid", f.instanceUID},
	}
	if f.standalone == "" && f.keysDir == "" {
		inCluster = append(inCluster, struct{ flag, value string }{"--keys-dir", ""})
	}
	for _, required := range inCluster {
		switch {
		case f.standalone != "" && required.value != "":
			return fmt.Errorf("%s has no effect with --standalone; leave it out", required.flag)
		case f.standalone == "" && required.value == "":
			return fmt.Errorf("%s is required in a cluster; to run alone, write --standalone DIR", required.flag)
		}
	}
	if f.s3.Bucket == "" && (f.s3.Endpoint+f.s3.Region+f.s3.Prefix != "" || f.s3.ForcePathStyle) {
		return errors.New("--s3-endpoint, --s3-region, --s3-prefix and --s3-force-path-style have no effect without --s3-bucket; write that, or leave them out")
	}
	if f.pprof && f.adminListen == "" {
		return errors.New("--pprof has no effect without --admin-listen; write that, or leave it out")
	}
	if f.standalone == "" && f.databaseURL != "" {
		return errors.New("--database-url-file has no effect in a cluster; leave it out")
	}
	if f.url == "" {
		return nil
	}
	if f.standalone == "" {
		return errors.New("--url has no effect in a cluster; leave it out")
	}
	parsed, err := url.Parse(f.url)
	if err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Host == "" || strings.TrimSuffix(f.url, "/") != parsed.Scheme+"://"+parsed.Host {
		return fmt.Errorf("--url is %q; write a scheme and a host alone, such as https://docker.packages.example.com", f.url)
	}
	return nil
}

// serve runs the registry with what both ways have in common.
func (f *registryFlags) serve(ctx context.Context, log logr.Logger, o registry.Options) (err error) {
	trusted, err := clientaddr.ParsePrefixes(f.trusted)
	if err != nil {
		return fmt.Errorf("--trusted-proxies: %w", err)
	}
	o.Listen, o.AdminListen, o.TrustedProxies = f.listen, f.adminListen, trusted
	o.Profiling = f.pprof
	o.DataDir, o.Adopt = f.dataDir, f.adopt
	if f.s3.Bucket != "" {
		o.S3 = &f.s3
	}
	o.Version, o.Log = buildVersion(), log
	limitMemory(os.LookupEnv)
	if o.Audit, err = audit.Open(f.audit, f.stdout, log.WithName("audit")); err != nil {
		return fmt.Errorf("--audit-log: %w", err)
	}
	defer func() { err = errors.Join(err, o.Audit.Close()) }()
	if f.audit != "" && f.audit != "-" {
		defer reopenOnHangup(o.Audit)()
	}
	traces, err := tracing.New(ctx, o.Version, log.WithName("tracing"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, traces.Close()) }()
	o.Tracer = traces.Tracer()
	o.Ready = func(listen, admin net.Addr) {
		values := []any{"address", listen.String(), "instance", o.InstanceUID, "version", o.Version}
		if admin != nil {
			values = append(values, "admin", admin.String())
		}
		log.Info("Serving", values...)
	}
	return registry.Run(ctx, o)
}

// reopenOnHangup follows a file that was rotated, until stop.
func reopenOnHangup(log *audit.Log) (stop func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		for range hangup {
			log.Reopen()
		}
	}()
	return func() {
		signal.Stop(hangup)
		close(hangup)
	}
}

// databaseVariable is the environment's way to name the database.
const databaseVariable = "PACKAGES_DATABASE_URL"

// readDatabaseURL returns the URL of the database, or nothing. It comes from a
// file or the environment: everybody on the machine may see a command line.
func (f *registryFlags) readDatabaseURL() (string, error) {
	if f.databaseURL == "" {
		return os.Getenv(databaseVariable), nil
	}
	content, err := os.ReadFile(f.databaseURL)
	if err != nil {
		return "", fmt.Errorf("read the URL of the database (--database-url-file): %w", err)
	}
	text := strings.TrimSpace(string(content))
	if text == "" {
		return "", fmt.Errorf("--database-url-file %s is empty", f.databaseURL)
	}
	return text, nil
}

func runStandalone(ctx context.Context, f registryFlags, log logr.Logger) error {
	live := &policy.Live{}
	source, err := files.Open(files.Options{
		Dir:     f.standalone,
		URL:     strings.TrimSuffix(f.url, "/"),
		Keep:    filepath.Join(f.dataDir, "standalone.json"),
		Version: programIdentity(),
		Live:    live,
		Now:     time.Now,
		Report: func(err error) {
			if err != nil {
				log.Error(err, "The files are faulty; the last good policy stays in force", "directory", f.standalone)
				return
			}
			log.Info("A changed policy is in force", "directory", f.standalone, "revision", live.Load().Revision())
		},
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.dataDir, 0o700); err != nil {
		return fmt.Errorf("make the data directory (--data-dir): %w", err)
	}
	database, err := f.readDatabaseURL()
	if err != nil {
		return err
	}
	load, keysDir := access.LoadKeys, f.keysDir
	if keysDir == "" {
		keysDir = filepath.Join(f.dataDir, "keys")
		load = func(dir string) (*access.Keys, error) { return access.CreateKeys(dir, rand.Reader) }
	}
	keys, err := load(keysDir)
	if err != nil {
		return err
	}
	return f.serve(ctx, log, registry.Options{
		InstanceUID: live.Load().Policy().Instance.UID,
		DatabaseURL: database,
		Keys:        followKeys(ctx, keysDir, keys, log),
		Policy:      live,
		Source:      source,
		Loopback:    true,
	})
}

// followKeys looks at the keys now and then, until ctx ends.
func followKeys(ctx context.Context, dir string, loaded *access.Keys, log logr.Logger) *access.KeyDirectory {
	directory := access.FollowKeys(dir, loaded, func(err error) {
		if err != nil {
			log.Error(err, "The keys are faulty; those before stay in force", "directory", dir)
			return
		}
		log.Info("The keys in the directory are in force", "directory", dir)
	})
	ticker := time.NewTicker(access.KeysInterval)
	go func() {
		defer ticker.Stop()
		_ = directory.Run(ctx, ticker.C) // it ends with ctx alone
	}()
	return directory
}

func runInCluster(ctx context.Context, f registryFlags, log logr.Logger) error {
	config, err := rest.InClusterConfig()
	if err != nil {
		return fmt.Errorf("this is no pod (%w): to run alone, write --standalone DIR", err)
	}
	config.UserAgent = "packages-operator-registry/" + buildVersion()
	keys, err := access.LoadKeys(f.keysDir)
	if err != nil {
		return err
	}
	live := &policy.Live{}
	source, err := watch.New(watch.Options{
		Config:      config,
		Namespace:   f.namespace,
		Instance:    f.instance,
		InstanceUID: f.instanceUID,
		DataDir:     f.dataDir,
		Live:        live,
		Now:         time.Now,
		Report: func(err error) {
			if err != nil {
				log.Error(err, "The newest policy is not in force; the last good one stays")
				return
			}
			log.Info("A policy is in force", "revision", live.Load().Revision())
		},
	})
	if err != nil {
		return err
	}
	return f.serve(ctx, log, registry.Options{
		InstanceUID: f.instanceUID,
		Keys:        followKeys(ctx, f.keysDir, keys, log),
		Policy:      live,
		Source:      source,
	})
}
