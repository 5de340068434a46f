# A node of RabbitMQ in this folder: `serve`, `answers`.
export HOME=$PWD HOSTNAME=localhost RABBITMQ_NODENAME=reach@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1
export RABBITMQ_MNESIA_BASE=$PWD/mnesia RABBITMQ_LOG_BASE=$PWD/log RABBITMQ_LOGS=- RABBITMQ_CONF_ENV_FILE=$PWD/none
export RABBITMQ_ENABLED_PLUGINS_FILE=$PWD/plugins RABBITMQ_CONFIG_FILE=$PWD/none
sbin=$(ls -d /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin | tail -n 1)

case $1 in
serve)
    touch plugins
    exec "$sbin/rabbitmq-server"
    ;;
answers) ss -Hltn sport = 5672 | grep -q 5672 ;;
esac
