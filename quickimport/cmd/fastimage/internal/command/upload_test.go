package command

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An object goes up without its zeros, and is described and checked where it lies.
func TestUploadAndLookAtTheObject(t *testing.T) {
	t.Parallel()
	c := serve(t, t.TempDir())
	dir := t.TempDir()
	container := filepath.Join(dir, "disk.zvhd2")
	require.Zero(t, fastimage(t, c.env, "convert", "-q", disk, container).code)

	r := fastimage(t, c.env, "upload", "--json", "--state-dir", dir, disk, "obs://images/raw/disk.raw")
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, []string{"bucket", "key", "object_bytes", "wire_bytes", "copied_bytes", "parts", "resumed_parts", "retries", "etag", "seconds"}, keys(t, r.stdout))
	var rep uploadReport
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &rep))
	st, err := os.Stat(disk)
	require.NoError(t, err)
	require.Equal(t, st.Size(), rep.ObjectBytes)
	require.Less(t, rep.WireBytes, rep.ObjectBytes)
	require.Positive(t, rep.CopiedBytes)

	r = fastimage(t, c.env, "upload", "-q", "--state-dir", dir, container, "obs://images/disk.zvhd2")
	require.Zero(t, r.code, r.stderr)
	require.Regexp(t, `^[0-9a-f]{32}(-\d+)?\n$`, r.stdout)

	local := fastimage(t, c.env, "info", "--json", container)
	remote := fastimage(t, c.env, "info", "--json", "obs://images/disk.zvhd2")
	require.Zero(t, remote.code, remote.stderr)
	require.JSONEq(t, local.stdout, remote.stdout)
	r = fastimage(t, c.env, "verify", "-q", "--against", disk, "obs://images/disk.zvhd2")
	require.Zero(t, r.code, r.stderr)

	r = fastimage(t, c.env, "uploads", "list", "--json", "obs://images/")
	require.Zero(t, r.code, r.stderr)
	require.JSONEq(t, `{"uploads":[]}`, r.stdout)

	requireError(t, fastimage(t, c.env, "verify", "obs://images/raw/disk.raw"), exitFailed, "is raw", "in a bucket")
	there := fastimage(t, c.env, "info", "obs://images/raw/disk.raw")
	require.Zero(t, there.code, there.stderr)
	require.Contains(t, there.stdout, "table         gpt")
	r = fastimage(t, c.env, "create", "--name", "x", "--os-version", "Debian GNU/Linux 12 64bit", "obs://images/raw/disk.raw")
	requireRefused(t, r, `fastimage: mf "raw/disk.mf": `) // create has no --mf
	requireError(t, fastimage(t, c.env, "upload", "--state-dir", dir, disk, "obs://nosuchbucket/k"), exitFailed, "nosuchbucket")
	requireError(t, fastimage(t, c.env, "upload", disk, "images/k"), exitUsage, "obs://")
	requireError(t, fastimage(t, c.env, "info", "obs://images/nothing"), exitFailed, "nothing")
}

// Every retry is a line: which part, which attempt, why.
func TestUploadTellsRetries(t *testing.T) {
	t.Parallel()
	c := serve(t, t.TempDir())
	const variable = "FASTIMAGE_OBS_ENDPOINT"
	i := slices.IndexFunc(c.env, func(e string) bool { return strings.HasPrefix(e, variable+"=") })
	backend, err := url.Parse(strings.TrimPrefix(c.env[i], variable+"="))
	require.NoError(t, err)
	var failed atomic.Bool
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(backend)
		r.Out.Host = r.In.Host // which is signed
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && r.URL.Query().Get("partNumber") == "1" && !failed.Swap(true) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "<Error><Code>SlowDown</Code><Message>less, please</Message></Error>")
			return
		}
		forward.ServeHTTP(w, r)
	}))
	defer front.Close()
	r := fastimage(t, c.with(variable, front.URL), "upload", "--json", "--progress", "plain", "--state-dir", t.TempDir(), disk, "obs://images/disk")
	require.Zero(t, r.code, r.stderr)
	require.Regexp(t, `(?m)^retry: part 1, attempt 1 failed, next in [0-9.]+m?s: .*less, please.*503 SlowDown`, r.stderr)
	var rep uploadReport
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &rep))
	require.Equal(t, 1, rep.Retries)
}

// A source that changed since it was interrupted is said, and one that changes
// on the way leaves no object.
func TestUploadOfAChangedSource(t *testing.T) {
	t.Parallel()
	c := serve(t, t.TempDir())
	dir, name := t.TempDir(), filepath.Join(t.TempDir(), "disk")
	data := make([]byte, 24<<20)
	for i := range data {
		data[i] = byte(i >> 12)
	}
	require.NoError(t, os.WriteFile(name, data, 0o600))
	upload := []string{"upload", "--concurrency", "1", "--part-size", "5MiB", "--rate-limit", "16MiB", "--state-dir", dir, name}
	r := interrupted(t, c.env, "upload: ", append(upload, "obs://images/disk")...)
	requireError(t, r, exitInterrupted, "run the same command again")

	require.NoError(t, os.Chtimes(name, time.Time{}, time.Now().Add(-time.Hour)))
	r = fastimage(t, c.env, append(upload, "obs://images/disk")...)
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stderr, "started over: the source changed")

	touch := func() { _ = os.Chtimes(name, time.Time{}, time.Now()) }
	r = during(t.Context(), t, c.env, "upload: ", touch, append(upload, "obs://images/other")...)
	requireError(t, r, exitFailed, "changed")
	requireError(t, fastimage(t, c.env, "info", "obs://images/other"), exitFailed, "other")
}

// A second import with the same state gives the image that is there.
func TestImportWithState(t *testing.T) {
	t.Parallel()
	c := serve(t, t.TempDir())
	args := []string{"import", "-q", "--state-dir", t.TempDir(), "--name", "kept", "--os-version", "Debian GNU/Linux 12 64bit", disk}
	first := fastimage(t, c.env, args...)
	require.Zero(t, first.code, first.stderr)
	again := fastimage(t, c.env, args...)
	require.Zero(t, again.code, again.stderr)
	require.Equal(t, first.stdout, again.stdout)
}

func TestBitmapLayouts(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "disk.mf")
	r := fastimage(t, nil, "bitmap", "--json", disk, out)
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, []string{"file", "layout", "assumed", "block_size", "blocks", "data_blocks", "data_bytes", "size"}, keys(t, r.stdout))
	var rep bitmapReport
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &rep))
	require.True(t, rep.Assumed)
	again := filepath.Join(t.TempDir(), "again.mf")
	require.Zero(t, fastimage(t, nil, "bitmap", "--layout", rep.Layout, disk, again).code)
	a, err := os.ReadFile(out)
	require.NoError(t, err)
	b, err := os.ReadFile(again)
	require.NoError(t, err)
	require.Equal(t, a, b)
	requireError(t, fastimage(t, nil, "bitmap", "--layout", "nonsense", disk, again), exitUsage, "--layout")
}

// What the automatic level chose is in the report.
func TestConvertTellsTheLevels(t *testing.T) {
	t.Parallel()
	for level, want := range map[string]string{"fastest": "blocks: 6 fastest", "auto": `blocks: \d+ (fastest|default|better)`} {
		r := fastimage(t, nil, "convert", "--level", level, disk, filepath.Join(t.TempDir(), "out.zvhd2"))
		require.Zero(t, r.code, r.stderr)
		require.Regexp(t, want, r.stderr)
	}
}
