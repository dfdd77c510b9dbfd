//go:build unix

package command

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A pipe that nobody writes to, or reads from, keeps no command from ending.
func TestFIFOs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	require.NoError(t, unix.Mkfifo(pipe, 0o600))
	container := filepath.Join(dir, "disk.zvhd2")
	require.Zero(t, fastimage(t, nil, "convert", "-q", disk, container).code)
	_, env := testCloud(t)
	for _, args := range [][]string{
		{"info", pipe},
		{"check", pipe},
		{"verify", pipe},
		{"verify", "--against", pipe, container},
		{"optimize", pipe, filepath.Join(dir, "out.zvhd2")},
		{"bitmap", pipe, filepath.Join(dir, "out.mf")},
		{"bitmap", "infer", disk, pipe},
		{"convert", pipe, filepath.Join(dir, "out.raw")},
		{"convert", "--to", "raw", "-f", disk, pipe},
		{"upload", pipe, "obs://images/pipe"},
		{"import", "--name", "a", pipe},
		{"import", "--name", "a", "--format", "raw", "--mf", pipe, disk},
	} {
		require.NotZero(t, fastimage(t, env, args...).code, "%v", args)
	}
}
