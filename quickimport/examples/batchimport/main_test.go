package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport/imstest"
)

// A directory with two images and a file that is none: the others are
// imported, and the second run makes no image again.
func TestBatchImport(t *testing.T) {
	srv := imstest.NewServer(t)
	for name, value := range map[string]string{
		"HUAWEICLOUD_SDK_AK": srv.AccessKey(), "HUAWEICLOUD_SDK_SK": srv.SecretKey(), "HW_REGION_NAME": srv.Region(),
		"FASTIMAGE_IMS_ENDPOINT": srv.IMSEndpoint(), "FASTIMAGE_OBS_ENDPOINT": srv.OBSEndpoint(), "FASTIMAGE_IAM_ENDPOINT": srv.IAMEndpoint(),
	} {
		t.Setenv(name, value)
	}
	disk, err := os.ReadFile("../../../testdata/disk.raw")
	require.NoError(t, err)
	dir := t.TempDir()
	for name, data := range map[string][]byte{"one.raw": disk, "two (b).raw": disk, "cut.raw": disk[:len(disk)/2]} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	args := []string{"-bucket", srv.Bucket(), "-os-version", "Debian GNU/Linux 12 64bit", "-state", filepath.Join(t.TempDir(), "state"), dir}
	for range 2 {
		var stdout, stderr bytes.Buffer
		require.Equal(t, 1, run(t.Context(), args, &stdout, &stderr), stderr.String())
		require.Regexp(t, `(?m)^failed +.*cut\.raw.*truncated`, stdout.String())
		require.Regexp(t, `(?m)^done +.*one\.raw +[0-9a-f-]{36}`, stdout.String())
		require.Contains(t, stdout.String(), "2 of 3 images imported\n")
		require.Len(t, srv.Images(), 2)
	}
	require.NoError(t, os.Remove(filepath.Join(dir, "cut.raw")))
	require.Equal(t, 0, run(t.Context(), args, &bytes.Buffer{}, &bytes.Buffer{}))

	var stderr bytes.Buffer
	require.Equal(t, 2, run(t.Context(), nil, &bytes.Buffer{}, &stderr))
	require.Contains(t, stderr.String(), "usage: ")
}
