// kube-router as the bed runs it: the network policy engine and nothing else.
package main

import (
	"flag"
	"log"

	"github.com/cloudnativelabs/kube-router/v2/pkg/cmd"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"
)

func main() {
	klog.InitFlags(nil)
	config := options.NewKubeRouterConfig()
	config.AddFlags(pflag.CommandLine)
	pflag.Parse()
	if err := flag.Set("v", config.VLevel); err != nil {
		log.Fatal(err)
	}
	if config.CleanupConfig {
		cmd.CleanupConfigAndExit()
		return
	}
	router, err := cmd.NewKubeRouterDefault(config)
	if err != nil {
		log.Fatal(err)
	}
	if err := router.Run(); err != nil {
		log.Fatal(err)
	}
}
