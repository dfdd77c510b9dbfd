package command

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var imageID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\n$`)

// demo is the first command of the README, without the file.
var demo = []string{"import", "--local", "--name", "demo", "--os-version", "Debian GNU/Linux 12 64bit"}

func TestImportLocal(t *testing.T) {
	t.Parallel()
	r := fastimage(t, nil, append(demo, disk)...)
	require.Zero(t, r.code, r.stderr)
	require.Regexp(t, imageID, r.stdout)
	for _, want := range []string{"upload: 100%", "image   demo", "object  images/", "sizes   disk ", "time    "} {
		require.Contains(t, r.stderr, want)
	}
	require.NotContains(t, r.stderr, "\x1b", "escape sequences where there is no terminal")
}

func TestImportLocalLeavesNothing(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	// The directory for temporary files is one of the process.
	require.NoError(t, command(t, []string{"TMPDIR=" + tmp}, append(demo, disk)...).Run())
	left, err := os.ReadDir(tmp)
	require.NoError(t, err)
	require.Empty(t, left)
}

// What the limit allows takes its time, however fast the machine is.
func TestImportRateLimit(t *testing.T) {
	t.Parallel()
	began := time.Now()
	r := fastimage(t, nil, append(demo[:len(demo):len(demo)], "--type", "DataImage", "--os-version", "", "--source-format", "raw", "--rate-limit", "4MiB", random(t, 6<<20))...)
	require.Zero(t, r.code, r.stderr)
	require.Greater(t, time.Since(began), time.Second)
}

func TestImportQuiet(t *testing.T) {
	t.Parallel()
	r := fastimage(t, nil, append(demo, "--quiet", disk)...)
	require.Zero(t, r.code, r.stderr)
	require.Regexp(t, imageID, r.stdout)
	require.Empty(t, r.stderr)
}

func TestImportJSON(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"zvhd2", "raw"} {
		t.Run(format, func(t *testing.T) {
			r := fastimage(t, nil, append(demo, "--json", "--format", format, disk)...)
			require.Zero(t, r.code, r.stderr)
			require.Equal(t, []string{"import_id", "image_id", "image_name", "job_id", "bucket", "key", "format", "os_version", "architecture", "firmware", "min_disk", "guest", "source_format", "source_bytes",
				"data_bytes", "object_bytes", "wire_bytes", "etag", "retries", "seconds", "phases", "warnings"}, keys(t, r.stdout))
			var got struct {
				ImageID     string  `json:"image_id"`
				ImageName   string  `json:"image_name"`
				Bucket      string  `json:"bucket"`
				Format      string  `json:"format"`
				SourceBytes int64   `json:"source_bytes"`
				DataBytes   int64   `json:"data_bytes"`
				ObjectBytes int64   `json:"object_bytes"`
				WireBytes   int64   `json:"wire_bytes"`
				Seconds     float64 `json:"seconds"`
				Phases      []struct {
					Name    string  `json:"name"`
					Seconds float64 `json:"seconds"`
				} `json:"phases"`
			}
			require.NoError(t, json.Unmarshal([]byte(r.stdout), &got))
			st, err := os.Stat(disk)
			require.NoError(t, err)
			require.Regexp(t, imageID, got.ImageID+"\n")
			require.Equal(t, "demo", got.ImageName)
			require.Equal(t, "images", got.Bucket)
			require.Equal(t, format, got.Format)
			require.Equal(t, st.Size(), got.SourceBytes)
			require.Positive(t, got.DataBytes)
			require.Positive(t, got.WireBytes)
			require.Positive(t, got.Seconds)
			require.NotEmpty(t, got.Phases)
			if format == "raw" {
				require.Equal(t, st.Size(), got.ObjectBytes)
			} else {
				require.Less(t, got.ObjectBytes, got.SourceBytes)
			}
		})
	}
}

func TestImportRefusesBeforeUpload(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		args []string
		want string
	}{
		{"name", []string{"--name", "a/b", "--os-version", "x"}, "name"},
		{"description", []string{"--name", "a", "--os-version", "x", "--description", "<b>"}, "description"},
		{"type", []string{"--name", "a", "--os-version", "x", "--type", "VM"}, "type"},
		{"tag", []string{"--name", "a", "--os-version", "x", "--tag", "no dot"}, "--tag"},
		{"architecture", []string{"--name", "a", "--os-version", "x", "--architecture", "mips"}, "architecture"},
		{"firmware", []string{"--name", "a", "--os-version", "x", "--architecture", "arm", "--firmware", "bios"}, "firmware"},
		{"key", []string{"--name", "a", "--os-version", "x", "--key", "a b.zvhd2"}, `key "a b.zvhd2"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := fastimage(t, nil, append(append([]string{"import", "--local"}, c.args...), disk)...)
			requireRefused(t, r, c.want)
			require.NotContains(t, r.stderr, "upload:")
		})
	}
	t.Run("over 1 TB", func(t *testing.T) {
		huge := sparse(t, "huge.raw", 1<<40+1<<30)
		requireRefused(t, fastimage(t, nil, append(demo, huge)...), "1 TB")
	})
}

// cloud is a run of serve.
type cloud struct {
	env  []string
	stop func() result
}

// serve runs the command and waits until it answers.
func serve(t *testing.T, dir string, flags ...string) *cloud {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stdout, ready := io.Pipe()
	var stderr lockedBuffer
	ended := make(chan int, 1)
	go func() {
		ended <- Run(ctx, Process{Args: append([]string{"serve", "--dir", dir}, flags...), Stdin: strings.NewReader(""), Stdout: ready, Stderr: &stderr, Getenv: environment(t, nil)})
		ready.Close()
	}()
	c := &cloud{stop: sync.OnceValue(func() result {
		cancel()
		return result{stderr: stderr.String(), code: <-ended}
	})}
	t.Cleanup(func() { c.stop() })
	for in := bufio.NewScanner(stdout); len(c.env) < 8 && in.Scan(); {
		line, ok := strings.CutPrefix(in.Text(), "export ")
		require.True(t, ok, in.Text())
		c.env = append(c.env, strings.ReplaceAll(line, "'", ""))
	}
	require.Len(t, c.env, 8, stderr.String())
	return c
}

// unreachable is the environment of a cloud that has gone.
func unreachable(t *testing.T) []string {
	t.Helper()
	c := serve(t, t.TempDir())
	c.stop()
	return c.env
}

// with returns the environment of the cloud with one variable changed.
func (c *cloud) with(name, value string) []string {
	env := slices.DeleteFunc(slices.Clone(c.env), func(e string) bool { return strings.HasPrefix(e, name+"=") })
	return append(env, name+"="+value)
}

func TestServe(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	c := serve(t, dir)
	first := []string{"import", "--name", "first", "--os-version", "Debian GNU/Linux 12 64bit", disk}
	r := fastimage(t, c.env, first...)
	require.Zero(t, r.code, r.stderr)
	require.Regexp(t, imageID, r.stdout)

	t.Run("wrong secret", func(t *testing.T) {
		requireRefused(t, fastimage(t, c.with("HUAWEICLOUD_SDK_SK", "wrong"), first...), "secret key")
	})
	t.Run("no credentials", func(t *testing.T) {
		requireRefused(t, fastimage(t, c.with("HUAWEICLOUD_SDK_SK", ""), first...), "HUAWEICLOUD_SDK_AK")
	})
	t.Run("missing bucket", func(t *testing.T) {
		requireRefused(t, fastimage(t, c.env, "import", "--bucket", "nosuchbucket", "--name", "n", "--os-version", "Debian GNU/Linux 12 64bit", disk),
			"nosuchbucket", "IMG.0069")
	})
	t.Run("keys from flags", func(t *testing.T) {
		var ak, sk string
		for _, e := range c.env {
			if v, ok := strings.CutPrefix(e, "HUAWEICLOUD_SDK_AK="); ok {
				ak = v
			}
			if v, ok := strings.CutPrefix(e, "HUAWEICLOUD_SDK_SK="); ok {
				sk = v
			}
		}
		r := fastimage(t, c.with("HUAWEICLOUD_SDK_SK", "wrong"), "import", "--ak", ak, "--sk", sk,
			"--name", "flags", "--os-version", "Debian GNU/Linux 12 64bit", disk)
		require.Zero(t, r.code, r.stderr)
	})

	require.Zero(t, c.stop().code)
	c = serve(t, dir)
	t.Run("state survives", func(t *testing.T) {
		requireRefused(t, fastimage(t, c.env, append(first, "--key", "other.zvhd2")...), "first", "--name")
		r := fastimage(t, c.env, "import", "--name", "second", "--os-version", "Debian GNU/Linux 12 64bit", "--tag", "a.1", "--min-disk", "40GiB", disk)
		require.Zero(t, r.code, r.stderr)
	})
}

func TestServeUnreachable(t *testing.T) {
	t.Parallel()
	// Reads are repeated for a while before they fail
	requireError(t, fastimage(t, unreachable(t), "import", "--retry-time", "1s", "--name", "x", "--os-version", "Debian GNU/Linux 12 64bit", disk), exitFailed, "127.0.0.1")
}

// TestImportInterrupted stops an import that waits for a service.
func TestImportInterrupted(t *testing.T) {
	t.Parallel()
	r := interrupted(t, unreachable(t), "retrying", "import", "--verbose", "--name", "x", "--os-version", "Debian GNU/Linux 12 64bit", disk)
	requireError(t, r, exitInterrupted, "interrupted")
}
