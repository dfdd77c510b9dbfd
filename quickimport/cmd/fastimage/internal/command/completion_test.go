package command

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCompletion asks as the shells' scripts do; the last line is what the
// shell is to do: 0 files, 4 no files, 6 nor a space, 16 directories.
func TestCompletion(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"import --level ":        "fastest default better best auto :4",
		"convert --to ":          "zvhd2 raw qcow2 :4",
		"doctor --format ":       "zvhd2 raw :4",
		"--progress ":            "auto bar plain none :4",
		"info --source-format ":  "raw qcow2 vmdk ova vhd vhdx vdi :4",
		"import --name ":         ":4",
		"import --state-dir ":    ":16",
		"import --mf ":           ":0",
		"import ":                ":0",
		"import disk.raw ":       ":0",
		"convert disk.raw ":      ":0",
		"images ":                "delete show :4",
		"upload ":                ":0",
		"upload disk.raw ":       "obs:// :6",
		"create ":                "obs:// :6",
		"uploads abort ":         "obs:// :6",
		"completion zs":          "zsh :4",
		"help uplo":              "upload uploads :4",
		"bitmap infer disk.raw ": ":0",
	} {
		r := fastimage(t, nil, append([]string{"__completeNoDesc"}, strings.Split(args, " ")...)...)
		require.Zero(t, r.code, r.stderr)
		require.Equal(t, want, strings.Join(strings.Fields(r.stdout), " "), args)
	}
	files := fastimage(t, nil, "__completeNoDesc", "bitmap", "")
	require.Equal(t, "infer\n:0\n", files.stdout, "a file or the subcommand")
}

// TestCompletionScripts gives each script to the shell it is for, where there is one.
func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		r := fastimage(t, nil, "completion", shell)
		require.Zero(t, r.code, r.stderr)
		require.Contains(t, r.stdout, "fastimage")
		if path, err := exec.LookPath(shell); err == nil && shell != "powershell" {
			cmd := exec.CommandContext(t.Context(), path, "-n")
			cmd.Stdin = strings.NewReader(r.stdout)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
		}
	}
}
