package manager

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
)

func TestWrongArguments(t *testing.T) {
	t.Setenv(inCluster, "")
	const good = "--relay-image=relay:1 --webhook-url=https://10.0.0.7:9443 "
	for args, want := range map[string]string{
		"":                                        `--relay-image "": want the image of relays, or --webhook-address=0 for a controller that rewrites no Pods; --webhook-url is missing`,
		"--relay-image=relay:1":                   "--webhook-url is missing: outside of the cluster the API server has no Service to reach this controller",
		good + "x":                                `found "x", want flags only`,
		good + "--namespce=x":                     "unknown flag --namespce, did you mean --namespace?",
		good + "--xyzzy":                          "unknown flag --xyzzy",
		good + "-x":                               "unknown shorthand flag",
		good + "--namespace=A":                    `--namespace "A": want the name of a namespace`,
		good + "--namespace":                      "--namespace wants a value",
		good + "--leader-elect=maybe":             `--leader-elect "maybe": want true or false`,
		good + "--cluster-id=a_b":                 `--cluster-id "a_b": want at most 20 of a-z, 0-9 and "-"`,
		good + "--log-level=loud":                 `--log-level "loud": want debug, info, warn, error`,
		good + "--log-format=xml":                 `--log-format "xml": want text, json`,
		good + "--metrics-bind-address=8080":      `--metrics-bind-address "8080": want HOST:PORT, :PORT, or 0 for none`,
		good + "--metrics-bind-address=:0":        `--metrics-bind-address ":0": want`,
		good + "--health-probe-bind-address=:x":   `--health-probe-bind-address ":x": want`,
		good + "--webhook-address=:8080":          "--webhook-address and --metrics-bind-address are both :8080",
		good + "--webhook-address=0":              "--webhook-url says where --webhook-address is reached, and that is 0",
		"--relay-image=r --webhook-url=http://a":  `--webhook-url "http://a": want https://HOST:PORT`,
		"--relay-image=r --webhook-url=https://":  `--webhook-url "https://": want`,
		"--relay-image=r --webhook-url=10.0.0.7":  `--webhook-url "10.0.0.7": want`,
		"--relay-image=r --webhook-service=a.b":   `--webhook-service "a.b": want the name of a Service`,
		good + "--log-level=loud --namespace=A":   `--namespace "A": want the name of a namespace; --log-level "loud"`,
		good + "--kubeconfig=/no/such/kubeconfig": "cluster: ",
	} {
		var out, errs bytes.Buffer
		code := Main(context.Background(), strings.Fields(args), &out, &errs)
		text := errs.String()
		if code != fault.ExitOutrigger || out.Len() > 0 || !strings.HasPrefix(text, "controller: ") || !strings.Contains(text, want) {
			t.Errorf("%s\ncode %d: %swant: %s", args, code, text, want)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	for arg, want := range map[string]string{
		"--help":    "--webhook-url https://HOST:PORT",
		"-h":        "controller --relay-image IMAGE [flags]",
		"--version": "outrigger controller dev linux/",
	} {
		var out, errs bytes.Buffer
		if code := Main(context.Background(), []string{arg}, &out, &errs); code != 0 || errs.Len() > 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: code %d, %s%s", arg, code, &out, &errs)
		}
	}
}

func TestInsideOfTheClusterThereIsAService(t *testing.T) {
	t.Setenv(inCluster, "10.96.0.1")
	if err := newFlags().parse([]string{"--relay-image=relay:1"}); err != nil {
		t.Error(err)
	}
}
