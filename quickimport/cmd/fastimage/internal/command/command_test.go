package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// asCommand in the environment makes the test binary be the command, so that
// tests of signals and terminals run the real thing in processes of its own.
const asCommand = "FASTIMAGE_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(Main())
	}
	os.Exit(m.Run())
}

const disk = "../../../../../testdata/disk.raw"

// result is what a run of the command leaves.
type result struct {
	stdout, stderr string
	code           int
}

// command prepares a run with env and nothing of the caller's own settings.
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "HW_") && !strings.HasPrefix(e, "HUAWEICLOUD_") && !strings.HasPrefix(e, "FASTIMAGE_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(append(cmd.Env, asCommand+"=1", "XDG_CACHE_HOME="+t.TempDir()), env...)
	return cmd
}

// environment is one of nothing but env and a cache of its own.
func environment(t *testing.T, env []string) func(string) string {
	t.Helper()
	values := map[string]string{"XDG_CACHE_HOME": t.TempDir()}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		values[name] = value
	}
	return func(name string) string { return values[name] }
}

// fastimage runs the command in this process.
func fastimage(t *testing.T, env []string, args ...string) result {
	t.Helper()
	return run(t.Context(), t, env, strings.NewReader(""), args...)
}

func run(ctx context.Context, t *testing.T, env []string, stdin io.Reader, args ...string) result {
	t.Helper()
	var stdout, stderr lockedBuffer
	code := Run(ctx, Process{Args: args, Stdin: stdin, Stdout: &stdout, Stderr: &stderr, Getenv: environment(t, env)})
	return result{stdout.String(), stderr.String(), code}
}

// during runs the command and calls f once, in the midst of it: when what it
// has written to standard error matches pattern. It writes a line for each
// report of progress, and waits while f runs.
func during(ctx context.Context, t *testing.T, env []string, pattern string, f func(), args ...string) result {
	t.Helper()
	var stdout lockedBuffer
	stderr := &lockedBuffer{watch: regexp.MustCompile(pattern), found: f}
	code := Run(ctx, Process{Args: args, Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: stderr,
		Getenv: environment(t, env), progressEvery: time.Nanosecond})
	require.Nil(t, stderr.watch, "standard error does not match %s:\n%s", pattern, stderr.String())
	return result{stdout.String(), stderr.String(), code}
}

// interrupted interrupts the command as soon as standard error matches pattern.
func interrupted(t *testing.T, env []string, pattern string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	return during(ctx, t, env, pattern, cancel, args...)
}

// lockedBuffer is a buffer that is written to from several goroutines, as a
// process's standard error is.
type lockedBuffer struct {
	mu    sync.Mutex // guards what follows
	buf   bytes.Buffer
	watch *regexp.Regexp // found is called once this matches
	found func()
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Write(p)
	if b.watch != nil && b.watch.Match(b.buf.Bytes()) {
		b.watch = nil
		b.found()
	}
	return len(p), nil
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func finished(t *testing.T, err error, stdout, stderr *bytes.Buffer) result {
	t.Helper()
	r := result{stdout: stdout.String(), stderr: stderr.String()}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		r.code = exit.ExitCode()
	} else {
		require.NoError(t, err)
	}
	return r
}

// requireError wants the last line of standard error to be one error that
// holds all of words, and nothing on standard output.
func requireError(t *testing.T, r result, code int, words ...string) {
	t.Helper()
	require.Equal(t, code, r.code, "stdout %s\nstderr %s", r.stdout, r.stderr)
	require.Empty(t, r.stdout)
	requireErrorLine(t, r, words...)
}

// requireErrorLine wants the last line of standard error to be one error that
// holds all of words, as text or as JSON.
func requireErrorLine(t *testing.T, r result, words ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n")
	last := lines[len(lines)-1]
	if strings.HasPrefix(last, "{") {
		var report struct{ Error diagnosis }
		require.NoError(t, json.Unmarshal([]byte(last), &report))
		require.Equal(t, r.code, report.Error.Status)
		last = report.Error.Message + "; " + report.Error.Advice
	} else {
		require.True(t, strings.HasPrefix(last, "fastimage: "), r.stderr)
		require.Equal(t, 1, strings.Count(r.stderr, "fastimage: "), r.stderr)
	}
	for _, w := range words {
		require.Contains(t, last, w)
	}
}

// requireRefused wants the status of a preflight that found problems, a line
// for one of them with all words, and a last line that counts them.
func requireRefused(t *testing.T, r result, words ...string) {
	t.Helper()
	require.Equal(t, exitRefused, r.code, "stdout %s\nstderr %s", r.stdout, r.stderr)
	require.Empty(t, r.stdout)
	lines := strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n")
	require.Regexp(t, `^fastimage: \d+ problems? found; nothing was uploaded`, lines[len(lines)-1])
	require.True(t, slices.ContainsFunc(lines, func(line string) bool {
		return strings.HasPrefix(line, "fastimage: ") && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
	}), "want %q in a line of\n%s", words, r.stderr)
}

// sparse makes a RAW file of n bytes with a little data at its start.
func sparse(t *testing.T, name string, n int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte("data"), 0o600))
	require.NoError(t, os.Truncate(path, n))
	return path
}

func keys(t *testing.T, text string) []string {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	var names []string
	depth := 0
	for name := false; ; {
		tok, err := dec.Token()
		if err != nil {
			break
		}
		switch d, isDelim := tok.(json.Delim); {
		case isDelim && (d == '{' || d == '['):
			depth++
			name = depth == 1
		case isDelim:
			depth--
			name = depth == 1
		case depth == 1 && name:
			names = append(names, tok.(string))
			name = false
		default:
			name = depth == 1
		}
	}
	require.Zero(t, depth, text)
	return names
}

func TestUsage(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		args []string
		want string
	}{
		{"no command", nil, "no command given"},
		{"unknown command", []string{"frobnicate"}, "unknown command"},
		{"help on an unknown command", []string{"help", "frobnicate"}, "frobnicate"},
		{"help on an unknown subcommand", []string{"help", "bitmap", "frobnicate"}, "frobnicate"},
		{"unknown shell", []string{"completion", "tcsh"}, "tcsh"},
		{"argument of a script", []string{"completion", "bash", "x"}, "usage: "},
		{"unknown flag", []string{"info", "--frobnicate", disk}, "unknown flag"},
		{"import without file", []string{"import", "--local"}, "usage: "},
		{"import without name", []string{"import", "--local", disk}, "--name"},
		{"import without region", []string{"import", "--name", "x", "--os-version", "Debian GNU/Linux 12 64bit", disk}, "--region"},
		{"import without bucket", []string{"import", "--region", "r", "--name", "x", "--os-version", "Debian GNU/Linux 12 64bit", disk}, "--bucket"},
		{"local with region", []string{"import", "--local", "--region", "r", "--name", "x", disk}, "contradict"},
		{"half a pair of keys", []string{"import", "--region", "r", "--bucket", "b", "--ak", "x", "--name", "x", disk}, "--sk"},
		{"level", []string{"convert", "--level", "11", disk, "out"}, "fastest"},
		{"format", []string{"import", "--local", "--format", "vmdk", "--name", "x", "--os-version", "Debian GNU/Linux 12 64bit", disk}, "zvhd2 or raw"},
		{"concurrency", []string{"import", "--local", "--concurrency", "65", "--name", "x", "--os-version", "Debian GNU/Linux 12 64bit", disk}, "1 to 64"},
		{"min-disk", []string{"import", "--local", "--min-disk", "big", "--name", "x", "--os-version", "Debian GNU/Linux 12 64bit", disk}, "40GiB"},
		{"part size of an import", []string{"import", "--local", "--part-size", "1MiB", "--name", "x", "--os-version", "Debian GNU/Linux 12 64bit", disk}, `--part-size "1MiB": want 5MiB to 5GiB`},
		{"upload without region", []string{"upload", "--endpoint", "http://127.0.0.1:1", disk, "obs://images/x"}, "no region; use --region"},
		{"part size of an upload", []string{"upload", "--region", "r", "--part-size", "6GiB", disk, "obs://images/x"}, "want 5MiB to 5GiB"},
		{"concurrency of an upload", []string{"upload", "--region", "r", "--concurrency", "0", disk, "obs://images/x"}, "1 to 64"},
		{"rate of an upload", []string{"upload", "--region", "r", "--rate-limit", "0MiB", disk, "obs://images/x"}, "40GiB"},
		{"timeout below 0", []string{"import", "--local", "--timeout", "-1s", "--name", "x", "--os-version", "Debian GNU/Linux 12 64bit", disk}, "--timeout"},
		{"timeout below 0 of a job", []string{"job", "--region", "r", "--timeout", "-1s", "x"}, "--timeout"},
		{"age below 0", []string{"uploads", "list", "--older-than", "-1h", "obs://images/"}, "--older-than"},
		{"prefix", []string{"uploads", "list", "images"}, "obs://BUCKET/PREFIX"},
		{"layout", []string{"bitmap", "--layout", "x", disk, "x.mf"}, "layout: encoding"},
		{"bitmap and JSON", []string{"bitmap", "--json", disk, "-"}, "standard output"},
		{"bitmap of standard input", []string{"bitmap", "-"}, "name the file"},
		{"verify of standard input", []string{"verify", "-"}, "standard input"},
		{"optimize of standard input", []string{"optimize", "-", "x.zvhd2"}, "standard input"},
		{"info of standard input", []string{"info", "-"}, "standard input"},
		{"serve without directory", []string{"serve"}, "--dir"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			requireError(t, fastimage(t, nil, c.args...), exitUsage, c.want)
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, sub := range []string{"import", "convert", "info", "verify", "optimize", "bitmap", "upload", "serve"} {
		r := fastimage(t, nil, sub, "--help")
		require.Zero(t, r.code)
		require.Contains(t, r.stdout, "Examples:\n  ")
		require.Empty(t, r.stderr)
	}
	require.Zero(t, fastimage(t, nil, "--version").code)
}

// TestBadSources holds every command that reads an image to the same errors.
func TestBadSources(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.raw")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	qcow2 := filepath.Join(dir, "disk.qcow2")
	require.NoError(t, os.WriteFile(qcow2, append([]byte("QFI\xfb\x00\x00\x00\x03"), make([]byte, 4096)...), 0o600))
	packed := filepath.Join(dir, "disk.raw.gz")
	require.NoError(t, os.WriteFile(packed, append([]byte("\x1f\x8b\x08"), make([]byte, 4096)...), 0o600))
	container := filepath.Join(dir, "cut.zvhd2")
	require.NoError(t, os.WriteFile(container, append([]byte("z2strm\x00\x00"), make([]byte, 4088)...), 0o600))

	truncated := filepath.Join(dir, "truncated.raw")
	data, err := os.ReadFile(disk)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(truncated, data[:len(data)/2], 0o600))

	cases := []struct{ name, file, want string }{
		{"truncated", truncated, "truncated"},
		{"missing", filepath.Join(dir, "nosuch.raw"), "nosuch.raw"},
		{"empty", empty, "empty"},
		{"directory", dir, dir},
		{"qcow2", qcow2, "qemu-img"},
		{"gzip", packed, "gzip"},
		{"cut container", container, "zvhd2"},
	}
	commands := map[string]func(file string) []string{
		"import": func(f string) []string {
			return []string{"import", "--local", "--name", "x", "--os-version", "Debian GNU/Linux 12 64bit", f}
		},
		"convert": func(f string) []string { return []string{"convert", f, filepath.Join(dir, "out.img")} },
		"bitmap":  func(f string) []string { return []string{"bitmap", f, filepath.Join(dir, "out.mf")} },
		"info":    func(f string) []string { return []string{"info", f} },
	}
	for name, args := range commands {
		for _, c := range cases {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				r := fastimage(t, nil, args(c.file)...)
				if name == "import" {
					requireRefused(t, r, c.want)
					return
				}
				requireError(t, r, exitFailed, c.want)
			})
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*out*"))
	require.NoError(t, err)
	require.Empty(t, left)
}
