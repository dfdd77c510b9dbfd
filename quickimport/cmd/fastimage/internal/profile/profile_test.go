package profile_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport/cmd/fastimage/internal/profile"
)

const secret = "thisIsTheSecretKeyOfATest"

// write puts a file below a new home directory.
func write(t *testing.T, name, text string, mode os.FileMode) (config, home string) {
	t.Helper()
	home = t.TempDir()
	file := filepath.Join(home, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
	require.NoError(t, os.WriteFile(file, []byte(text), mode))
	require.NoError(t, os.Chmod(file, mode))
	return filepath.Join(home, ".config"), home
}

const (
	own     = ".config/fastimage/config.yaml"
	obsutil = ".obsutilconfig"
	hcloud  = ".hcloud/config.json"
)

func TestLoad(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file, text, profile string
		want                      profile.Values
	}{
		{"own", own, "profiles:\n  lab:\n    access_key: AK\n    secret_key: " + secret + "\n    region: r-1\n    bucket: b\n", "lab",
			profile.Values{"HUAWEICLOUD_SDK_AK": "AK", "HUAWEICLOUD_SDK_SK": secret, "HW_REGION_NAME": "r-1", "FASTIMAGE_BUCKET": "b"}},
		{"obsutil", obsutil, "endpoint=obs.cn-north-4.myhuaweicloud.com\nak=ABCDEFGHIJ0123456789\nsk=" + secret + "\ntoken=\nother=1\n", "obsutil",
			profile.Values{"HUAWEICLOUD_SDK_AK": "ABCDEFGHIJ0123456789", "HUAWEICLOUD_SDK_SK": secret,
				"FASTIMAGE_OBS_ENDPOINT": "https://obs.cn-north-4.myhuaweicloud.com", "HW_REGION_NAME": "cn-north-4"}},
		{"hcloud", hcloud, `{"current":"b","profiles":[{"name":"a"},{"name":"b","mode":"AKSK","accessKeyId":"ABCDEFGHIJ0123456789","secretAccessKey":"` + secret + `","region":"r-2"}]}`, "hcloud",
			profile.Values{"HUAWEICLOUD_SDK_AK": "ABCDEFGHIJ0123456789", "HUAWEICLOUD_SDK_SK": secret, "HW_REGION_NAME": "r-2"}},
		{"hcloud by name", hcloud, `{"current":"b","profiles":[{"name":"a","accessKeyId":"ABCDEFGHIJ0123456789","secretAccessKey":"` + secret + `"}]}`, "hcloud:a",
			profile.Values{"HUAWEICLOUD_SDK_AK": "ABCDEFGHIJ0123456789", "HUAWEICLOUD_SDK_SK": secret}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			config, home := write(t, c.file, c.text, 0o600)
			got, err := profile.Load(c.profile, config, home)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

// Whatever is wrong with a file is an error that names it and holds no secret.
func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	keys := "profiles:\n  default:\n    access_key: AK\n    secret_key: " + secret + "\n"
	for _, c := range []struct {
		name, file, text, profile string
		mode                      os.FileMode
		is                        error
		want                      string
	}{
		{"readable by others", own, keys, "default", 0o644, profile.ErrPermissions, "mode 0644"},
		{"readable by the group", obsutil, "ak=a", "obsutil", 0o640, profile.ErrPermissions, "mode 0640"},
		{"unknown key", own, keys + "    secret-key: " + secret + "\n", "default", 0o600, nil, `line 5: unknown key "secret-key"`},
		{"unknown key at the top", own, "profile:\n  x: " + secret + "\n", "default", 0o600, nil, `line 1: unknown key "profile"`},
		{"half-written", own, keys + "    region: \"cn-no" + secret, "default", 0o600, nil, "not valid YAML"},
		{"cut in the keys", own, "profiles:\n  default:\n    access_key: AK\n    secr", "default", 0o600, nil, "line "},
		{"half a pair", own, "profiles:\n  default:\n    secret_key: " + secret + "\n", "default", 0o600, nil, "only one of"},
		{"a list", own, "profiles:\n  default: [" + secret + "]\n", "default", 0o600, nil, "line 2: want text"},
		{"empty", own, "", "default", 0o600, nil, "empty"},
		{"other profile", own, keys, "lab", 0o600, profile.ErrNotFound, ""},
		{"no file", "other", "", "default", 0o600, profile.ErrNotFound, ""},
		{"obsutil without keys", obsutil, "endpoint=x\n", "obsutil", 0o600, nil, "no keys"},
		{"obsutil encrypted", obsutil, "ak=8f/2+kk==\nsk=" + secret + "\n", "obsutil", 0o600, profile.ErrEncrypted, ""},
		{"hcloud half-written", hcloud, `{"profiles":[{"secretAccessKey":"` + secret, "hcloud", 0o600, nil, "not valid JSON"},
		{"hcloud of another type", hcloud, `{"profiles":{"secretAccessKey":"` + secret + `"}}`, "hcloud", 0o600, nil, "not a configuration of hcloud"},
		{"hcloud without the profile", hcloud, `{"profiles":[{"name":"a"}]}`, "hcloud:b", 0o600, profile.ErrNotFound, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if runtime.GOOS == "windows" && errors.Is(c.is, profile.ErrPermissions) {
				t.Skip("no modes")
			}
			config, home := write(t, c.file, c.text, c.mode)
			_, err := profile.Load(c.profile, config, home)
			e, ok := errors.AsType[*profile.Error](err)
			require.True(t, ok, "%v", err)
			require.Contains(t, err.Error(), e.File)
			require.Contains(t, err.Error(), c.want)
			require.NotContains(t, err.Error(), secret)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
		})
	}
}
