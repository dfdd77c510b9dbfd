package httpfile_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/httpfile"
)

// freePort returns a TCP port of the loopback that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// run starts a server and waits until it answers.
func run(t *testing.T, port int, cmd *exec.Cmd) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	require.Eventually(t, func() bool {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	}, time.Minute, 5*time.Millisecond, "%s", &stderr)
}

func nginx(t *testing.T, dir, settings string) (base string) {
	t.Helper()
	bin, port := qemutest.Oracle(t, "nginx"), freePort(t)
	tmp := t.TempDir()
	conf := fmt.Sprintf(`daemon off; pid %[1]s/pid; error_log %[1]s/error.log; worker_processes 1; master_process off;
events {}
http { access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
default_type text/plain; gzip_types *; server { listen 127.0.0.1:%[2]d; root %[3]s; %[4]s } }`, tmp, port, dir, settings)
	name := filepath.Join(tmp, "nginx.conf")
	require.NoError(t, os.WriteFile(name, []byte(conf), 0o600))
	run(t, port, exec.Command(bin, "-c", name, "-p", tmp, "-e", filepath.Join(tmp, "error.log")))
	return fmt.Sprintf("http://127.0.0.1:%d/", port)
}

func TestNginx(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	data := bytes.Repeat(content(10_000), 300)
	name := filepath.Join(dir, "disk.img")
	require.NoError(t, os.WriteFile(name, data, 0o644))
	for setting, ranges := range map[string]bool{"": true, "gzip on;": true, "limit_rate 8m;": true, "etag off;": true, "max_ranges 0;": false} {
		f := open(t, nginx(t, dir, setting)+"disk.img")
		require.Equal(t, ranges, f.Ranges(), setting)
		if ranges {
			requireContent(t, f, data)
			continue
		}
		r, err := f.Stream(context.Background())
		require.NoError(t, err)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
		require.NoError(t, r.Close())
	}
	// Replaced midway.
	f := open(t, nginx(t, dir, "")+"disk.img")
	require.NoError(t, os.WriteFile(name+".new", data[1:], 0o644))
	require.NoError(t, os.Rename(name+".new", name))
	_, err := f.ReadAt(make([]byte, 200_000), 1_000_000)
	require.ErrorIs(t, err, httpfile.ErrChanged)
	require.ErrorIs(t, f.CheckUnchanged(context.Background()), httpfile.ErrChanged)
}

// Python's server has no ranges.
func TestPython(t *testing.T) {
	t.Parallel()
	python := qemutest.Oracle(t, "python3")
	dir, port, data := t.TempDir(), freePort(t), content(500_000)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "disk.img"), data, 0o644))
	run(t, port, exec.Command(python, "-m", "http.server", "--bind", "127.0.0.1", "--directory", dir, fmt.Sprint(port)))
	f := open(t, fmt.Sprintf("http://127.0.0.1:%d/disk.img", port))
	require.False(t, f.Ranges())
	r, err := f.Stream(context.Background())
	require.NoError(t, err)
	defer r.Close()
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got))
}
