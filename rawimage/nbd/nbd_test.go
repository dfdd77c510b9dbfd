package nbd_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/internal/sparse/sparsetest"
	"github.com/fastimage/fastimage/rawimage/nbd"
)

// diskFile is a sparse disk of 24 MiB with data in four places.
func diskFile(t *testing.T) (name string, disk []byte) {
	t.Helper()
	disk = make([]byte, 24<<20)
	rnd := rand.NewChaCha8([32]byte{1})
	for _, off := range []int{0, 5 << 20, 11<<20 + 4096, 24<<20 - 8192} {
		_, _ = rnd.Read(disk[off:min(off+1<<20, len(disk))])
	}
	name = filepath.Join(t.TempDir(), "disk.raw")
	f, err := os.Create(name)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(int64(len(disk))))
	for off := 0; off < len(disk); off += 4096 {
		if p := disk[off : off+4096]; !bytes.Equal(p, make([]byte, 4096)) {
			_, err = f.WriteAt(p, int64(off))
			require.NoError(t, err)
		}
	}
	require.NoError(t, f.Close())
	return name, disk
}

// start runs a server until the test ends and returns its socket.
func start(t *testing.T, tool string, args func(socket string) []string) (socket string) {
	t.Helper()
	tool = qemutest.Oracle(t, tool)
	dir, err := os.MkdirTemp("", "nbd") // the path of a socket must be short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket = filepath.Join(dir, "s")
	cmd := exec.Command(tool, args(socket)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	require.Eventually(t, func() bool {
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", tool, &stderr)
		default:
		}
		c, err := net.Dial("unix", socket) // there before it listens
		if err == nil {
			c.Close()
		}
		return err == nil
	}, time.Minute, 5*time.Millisecond)
	return socket
}

func dial(t *testing.T, uri string, opts ...nbd.Option) *nbd.Export {
	t.Helper()
	e, err := nbd.Dial(context.Background(), uri, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

func unixURI(socket string) string { return "nbd+unix:///?socket=" + socket }

// requireDisk reads all of the disk, from several goroutines, in odd pieces.
func requireDisk(t *testing.T, e *nbd.Export, disk []byte) {
	t.Helper()
	require.EqualValues(t, len(disk), e.Size())
	got := make([]byte, len(disk))
	var wg sync.WaitGroup
	const piece = 700_001
	for off := 0; off < len(disk); off += piece {
		wg.Go(func() {
			_, err := e.ReadAt(got[off:min(off+piece, len(disk))], int64(off))
			if err != nil {
				t.Errorf("read at %d: %v", off, err)
			}
		})
	}
	wg.Wait()
	require.True(t, bytes.Equal(disk, got))
	n, err := e.ReadAt(make([]byte, 10), int64(len(disk))-4)
	require.Equal(t, 4, n)
	require.ErrorIs(t, err, io.EOF)
	_, err = e.ReadAt(make([]byte, 1), -1)
	require.ErrorIs(t, err, fs.ErrInvalid)
}

func TestServers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		tool string
		args func(socket, disk string) []string
		data int64 // most bytes of the disk that are called data; 0: any
	}{
		{"qemu-nbd", "qemu-nbd", func(s, d string) []string { return []string{"-k", s, "-f", "raw", "-r", "-e", "8", "-t", d} }, 6 << 20},
		{"qemu-nbd one client", "qemu-nbd", func(s, d string) []string { return []string{"-k", s, "-f", "raw", "-t", d} }, 6 << 20},
		{"nbdkit", "nbdkit", func(s, d string) []string { return []string{"-f", "-r", "-U", s, "file", d} }, 6 << 20},
		{"no extents", "nbdkit", func(s, d string) []string { return []string{"-f", "-r", "-U", s, "--filter=noextents", "file", d} }, 0},
		{"no structured replies", "nbdkit", func(s, d string) []string { return []string{"-f", "-r", "-U", s, "--no-sr", "file", d} }, 0},
		{"newstyle", "nbdkit", func(s, d string) []string { return []string{"-f", "-r", "-U", s, "--mask-handshake=0", "file", d} }, 0},
		{"not parallel", "nbdkit", func(s, d string) []string {
			return []string{"-f", "-r", "-U", s, "--filter=noparallel", "file", d, "serialize=connections"}
		}, 6 << 20},
		{"blocks of 4096", "nbdkit", func(s, d string) []string {
			return []string{"-f", "-r", "-U", s, "--filter=blocksize-policy", "file", d, "blocksize-minimum=4096", "blocksize-preferred=4096", "blocksize-maximum=65536", "blocksize-error-policy=error"}
		}, 6 << 20},
		{"slow", "nbdkit", func(s, d string) []string {
			return []string{"-f", "-r", "-U", s, "--filter=delay", "file", d, "rdelay=5ms", "delay-extents=5ms"}
		}, 6 << 20},
		{"errors now and then", "nbdkit", func(s, d string) []string {
			return []string{"-f", "-r", "-U", s, "--filter=error", "file", d, "error-pread-rate=20%", "error-extents-rate=20%", "error=EIO"}
		}, 6 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			name, disk := diskFile(t)
			socket := start(t, c.tool, func(s string) []string { return c.args(s, name) })
			e := dial(t, unixURI(socket))
			requireDisk(t, e, disk)
			sparsetest.Check(t, e, e.Size())
			data := int64(0)
			for off := int64(0); ; {
				start, end, err := e.NextData(off)
				if err == io.EOF {
					break
				}
				require.NoError(t, err)
				data += end - start
				off = end
			}
			if c.data > 0 {
				require.Less(t, data, c.data)
			}
		})
	}
}

// What the server or the URI gets wrong has a type.
func TestErrors(t *testing.T) {
	t.Parallel()
	name, _ := diskFile(t)
	qemu := start(t, "qemu-nbd", func(s string) []string {
		return []string{"-k", s, "-f", "raw", "-r", "-t", "-e", "0", "-x", "disk", name}
	})
	for _, c := range []struct {
		uri string
		is  error
	}{
		{"http://host/", nbd.ErrURI},
		{"nbd:///x", nbd.ErrURI},
		{"nbd+unix:///x", nbd.ErrURI},
		{"nbd+unix://host/x?socket=/s", nbd.ErrURI},
		{"nbd://%zz/", nbd.ErrURI},
		{"nbd+unix:///other?socket=" + qemu, nbd.ErrNoExport},
		{"nbds+unix:///disk?socket=" + qemu, nbd.ErrNoTLS},
		{"nbd+unix:///disk?socket=" + qemu + "x", fs.ErrNotExist},
		{"nbds://h/x?tls-certificates=/does/not/exist", fs.ErrNotExist},
	} {
		_, err := nbd.Dial(context.Background(), c.uri)
		require.ErrorIs(t, err, c.is, c.uri)
	}
	_, err := nbd.Dial(context.Background(), "nbd://h/", nbd.WithConnections(0))
	require.ErrorIs(t, err, fs.ErrInvalid)
	dial(t, "nbd+unix:///disk?socket="+qemu)
}

// A server that fails for good is a RequestError with the offset.
func TestServerFails(t *testing.T) {
	t.Parallel()
	name, _ := diskFile(t)
	socket := start(t, "nbdkit", func(s string) []string {
		return []string{"-f", "-r", "-U", s, "--filter=error", "file", name, "error-pread-rate=100%", "error=EPERM"}
	})
	e := dial(t, unixURI(socket))
	_, err := e.ReadAt(make([]byte, 100), 5<<20)
	var failed *nbd.RequestError
	require.ErrorAs(t, err, &failed)
	require.EqualValues(t, 5<<20, failed.Offset)
	var server *nbd.ServerError
	require.ErrorAs(t, err, &server)
	require.EqualValues(t, 1, server.Code)
}

// Killed and started again, the server is found again; with another size it is
// not the same disk.
func TestReconnect(t *testing.T) {
	t.Parallel()
	name, disk := diskFile(t)
	one := start(t, "nbdkit", func(s string) []string { return []string{"-f", "-r", "-U", s, "file", name} })
	two := start(t, "nbdkit", func(s string) []string { return []string{"-f", "-r", "-U", s, "memory", "1M"} })
	var mu sync.Mutex
	var last net.Conn
	target := one
	dialer := nbd.WithDialer(func(ctx context.Context, _, _ string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		c, err := new(net.Dialer).DialContext(ctx, "unix", target)
		last = c
		return c, err
	})
	e := dial(t, "nbd://server/", dialer, nbd.WithConnections(1))
	for range 3 {
		mu.Lock()
		require.NoError(t, last.Close())
		mu.Unlock()
		got := make([]byte, 1<<20)
		_, err := e.ReadAt(got, 5<<20)
		require.NoError(t, err)
		require.True(t, bytes.Equal(disk[5<<20:6<<20], got))
	}
	mu.Lock()
	target = two
	require.NoError(t, last.Close())
	mu.Unlock()
	_, err := e.ReadAt(make([]byte, 10), 0)
	require.ErrorIs(t, err, nbd.ErrChanged)
}

// Close ends a read that the server never answers.
func TestCloseEndsReads(t *testing.T) {
	t.Parallel()
	e := dial(t, "nbd://server/", nbd.WithDialer(script(greeting(1<<20, 0))))
	done := make(chan error)
	go func() {
		_, err := e.ReadAt(make([]byte, 10), 0)
		done <- err
	}()
	require.NoError(t, e.Close())
	require.ErrorIs(t, <-done, nbd.ErrClosed)
	_, err := e.ReadAt(make([]byte, 10), 0)
	require.ErrorIs(t, err, nbd.ErrClosed)
}

// A server that says nothing is stalled.
func TestStall(t *testing.T) {
	t.Parallel()
	_, err := nbd.Dial(context.Background(), "nbd://server/", nbd.WithDialer(script(nil)), nbd.WithStallTimeout(10*time.Millisecond))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = nbd.Dial(ctx, "nbd://server/", nbd.WithDialer(script(nil)))
	require.ErrorIs(t, err, context.Canceled)
}
