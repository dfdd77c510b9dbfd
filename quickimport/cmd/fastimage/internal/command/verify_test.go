package command

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVerifyAndOptimize(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good, better := filepath.Join(dir, "good.zvhd2"), filepath.Join(dir, "better.zvhd2")
	require.Zero(t, fastimage(t, nil, "convert", "-q", "--level", "fastest", disk, good).code)
	r := fastimage(t, nil, "verify", "--against", disk, good)
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stdout, "sound")

	r = fastimage(t, nil, "optimize", "--level", "best", good, better)
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stderr, "compressed again")
	requireSameDisk(t, better)
	requireError(t, fastimage(t, nil, "optimize", good, better), exitFailed, "-f")
	requireError(t, fastimage(t, nil, "optimize", "-f", good, good), exitFailed, "is the source")

	t.Run("other content", func(t *testing.T) {
		other := sparse(t, "other.raw", 64<<20)
		r := fastimage(t, nil, "verify", "-q", "--against", other, good)
		require.Equal(t, exitFailed, r.code)
		require.NotEmpty(t, r.stdout)
	})
	t.Run("damaged", func(t *testing.T) {
		data, err := os.ReadFile(good)
		require.NoError(t, err)
		data[4096] ^= 1 // the prefix of the first record
		bad := filepath.Join(t.TempDir(), "bad.zvhd2")
		require.NoError(t, os.WriteFile(bad, data, 0o600))
		r := fastimage(t, nil, "verify", "--json", bad)
		require.Equal(t, exitFailed, r.code)
		require.Equal(t, []string{"format", "size", "file_size", "blocks", "stored", "checked", "compared", "problems", "omitted", "notes"}, keys(t, r.stdout))
		var rep struct {
			Problems []struct {
				Kind  string `json:"kind"`
				Block int64  `json:"block"`
			} `json:"problems"`
		}
		require.NoError(t, json.Unmarshal([]byte(r.stdout), &rep))
		require.NotEmpty(t, rep.Problems)
		require.Zero(t, rep.Problems[0].Block)
		require.Contains(t, r.stderr, "optimize --recover")
		require.Equal(t, exitFailed, fastimage(t, nil, "import", "--local", "--name", "x", "--os-version", "Debian GNU/Linux 12 64bit", bad).code)
	})
	t.Run("cut", func(t *testing.T) {
		data, err := os.ReadFile(good)
		require.NoError(t, err)
		cut, out := filepath.Join(t.TempDir(), "cut.zvhd2"), filepath.Join(t.TempDir(), "saved.zvhd2")
		require.NoError(t, os.WriteFile(cut, data[:3*4096], 0o600))
		requireError(t, fastimage(t, nil, "optimize", "-q", cut, out), exitFailed, cut)
		require.NoFileExists(t, out)
		r := fastimage(t, nil, "optimize", "--recover", cut, out)
		require.Zero(t, r.code, r.stderr)
		require.Contains(t, r.stderr, "recovered")
		require.Contains(t, r.stderr, "lost: blocks ")
		require.Zero(t, fastimage(t, nil, "verify", out).code)
	})
	t.Run("report", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "out.zvhd2")
		head := []string{"format", "input_size", "disk_size", "file_size", "blocks", "stored_blocks", "levels"}
		r := fastimage(t, nil, "optimize", "--json", "--level", "auto", good, out)
		require.Zero(t, r.code, r.stderr)
		require.Equal(t, append(head[:7:7], "saved_bytes", "dropped_zeros", "changes"), keys(t, r.stdout))
		data, err := os.ReadFile(good)
		require.NoError(t, err)
		cut := filepath.Join(t.TempDir(), "cut.zvhd2")
		require.NoError(t, os.WriteFile(cut, data[:3*4096], 0o600))
		r = fastimage(t, nil, "optimize", "--json", "--recover", "-f", cut, out)
		require.Zero(t, r.code, r.stderr)
		require.Equal(t, append(head[:7:7], "recovered", "complete", "cut_off", "cut_at", "lost", "perhaps_lost"), keys(t, r.stdout))
		var rep struct {
			CutOff      bool                        `json:"cut_off"`
			PerhapsLost []struct{ First, Last int } `json:"perhaps_lost"`
		}
		require.NoError(t, json.Unmarshal([]byte(r.stdout), &rep))
		require.True(t, rep.CutOff)
		require.NotEmpty(t, rep.PerhapsLost)
		requireError(t, fastimage(t, nil, "optimize", "--json", good, "-"), exitUsage, "--json")
	})
	t.Run("no container", func(t *testing.T) {
		require.Equal(t, exitFailed, fastimage(t, nil, "verify", disk).code)
		requireError(t, fastimage(t, nil, "verify", t.TempDir()), exitFailed, "not a regular file")
		requireError(t, fastimage(t, nil, "verify", filepath.Join(t.TempDir(), "no")), exitFailed, "check the path")
	})
}
