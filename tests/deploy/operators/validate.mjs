// Reads objects of Kubernetes as JSON, one a line; says of each that operators read what is wrong with it.
import { createInterface } from "node:readline";
import { Cluster } from "@kubernetes-models/cloudnative-pg/postgresql.cnpg.io/v1/Cluster";
import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";

const models = { Cluster, PrometheusRule, ServiceMonitor };

for await (const line of createInterface({ input: process.stdin })) {
  const object = JSON.parse(line);
  const Model = models[object.kind];
  if (!Model) continue;
  try {
    new Model(object).validate();
    console.log(object.kind);
  } catch (error) {
    console.error(`${object.kind} ${object.metadata.name}: ${error.message}`);
    process.exitCode = 1;
  }
}
