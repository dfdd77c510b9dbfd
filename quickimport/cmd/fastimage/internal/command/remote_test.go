package command

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport/imstest"
)

// Every command that reads an image takes URLs.
func TestURLs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.Zero(t, fastimage(t, nil, "convert", "-q", disk, filepath.Join(dir, "disk.zvhd2")).code)
	require.Zero(t, fastimage(t, nil, "convert", "-q", disk, filepath.Join(dir, "disk.qcow2")).code)
	raw, err := os.ReadFile(disk)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "disk.raw"), raw, 0o600))
	web := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer web.Close()
	srv, env := testCloud(t)
	ok := func(args ...string) result {
		t.Helper()
		r := fastimage(t, env, args...)
		require.Zero(t, r.code, "%v\n%s", args, r.stderr)
		return r
	}
	object := "obs://" + srv.Bucket() + "/"
	ok("upload", web.URL+"/disk.qcow2", object)
	ok("upload", web.URL+"/disk.zvhd2?token=x", object)
	ok("upload", object+"disk.qcow2", object+"copy.qcow2")
	for _, u := range []string{web.URL + "/disk.qcow2", object + "copy.qcow2", web.URL + "/disk.zvhd2", object + "disk.zvhd2"} {
		ok("info", u)
		ok("check", u)
	}
	ok("verify", web.URL+"/disk.zvhd2")
	ok("verify", object+"disk.zvhd2")
	ok("bitmap", web.URL+"/disk.raw", filepath.Join(t.TempDir(), "disk.mf"))
	ok("convert", object+"copy.qcow2", filepath.Join(t.TempDir(), "disk.raw"))
	ok("import", "--name", "from-http", "--bucket", srv.Bucket(), web.URL+"/disk.qcow2")
	ok("import", "--name", "from-obs", "--bucket", srv.Bucket(), object+"copy.qcow2")
	for _, u := range []string{web.URL + "/none", object + "none", "ftp://host/disk.raw", "http://127.0.0.1:1/x"} {
		require.NotZero(t, fastimage(t, env, "info", "--retry-time", "1ms", u).code, u)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	ok("upload", empty, object+"empty file")
}

// A source may be in a bucket of another service and account.
func TestSourceElsewhere(t *testing.T) {
	t.Parallel()
	_, env := testCloud(t)
	other := imstest.NewServer(t, imstest.WithCredentials("OTHERKEY", "other-secret"), imstest.WithRegion("other-region-1"))
	content, err := os.ReadFile(disk)
	require.NoError(t, err)
	require.NoError(t, other.PutObject(other.Bucket(), "disk.raw", bytes.NewReader(content)))
	source := "obs://" + other.Bucket() + "/disk.raw"
	args := []string{"import", "--name", "elsewhere", "--source-endpoint", other.OBSEndpoint(), "--source-region", other.Region(), source}
	require.NotZero(t, fastimage(t, env, args...).code, "the target's keys are not the source's")
	r := fastimage(t, append(env, sourceKeyEnv+"=OTHERKEY", sourceSecretEnv+"=other-secret"), args...)
	require.Zero(t, r.code, r.stderr)
}
